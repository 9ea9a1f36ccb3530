"""The parts of transformers over groups, beside `group_linear` and `layer_norm`.

``dot_product`` has attention between features on the group, ``positions`` the ways to tell it where
tokens are, and ``windows`` cuts images into windows. ``tokens`` has what the layers share.
"""
