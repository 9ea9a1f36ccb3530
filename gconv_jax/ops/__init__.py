"""Small operations on arrays that know nothing of groups."""
