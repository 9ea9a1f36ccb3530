// The slider: shows the frame of an angle. Everything that it shows is in #data.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.inputs) return;
  const { inputs, networks } = data;
  const frames = Math.round(360 / inputs.step);
  const byId = (id) => document.getElementById(id);
  const slider = byId("angle");
  const play = byId("play");
  let chosen = data.first;

  function add(parent, name, properties = {}, text = "") {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  function addSvg(parent, name, properties, text = "") {
    const element = document.createElementNS(byId("curve").namespaceURI, name);
    for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  // The colors of the pictures; more networks than there are of those share out the hues.
  const color = (i) => (networks.length <= 10 ? `var(--run${i})` : `hsl(${(360 * i) / networks.length} 60% 50%)`);
  const frame = () => Math.round(Number(slider.value) / inputs.step) % frames;

  // The text is there before the pictures are: what is drawn is drawn again once they are.
  const sheets = [inputs.images, ...networks.flatMap((n) => n.maps.map((m) => m.images))].flat();
  for (const sheet of sheets) {
    sheet.image = new Image();
    sheet.image.addEventListener("load", () => show());
    sheet.image.src = sheet.sprite;
  }

  // Part of a frame: the line `row` of `rows`.
  function draw(canvas, sheet, index, row = 0, rows = 1) {
    if (!sheet.image.complete) return;
    const [height, width] = sheet.size;
    const part = height / rows;
    canvas.width = width;
    canvas.height = part;
    const left = (index % sheet.columns) * width;
    const top = Math.floor(index / sheet.columns) * height + row * part;
    canvas.getContext("2d").drawImage(sheet.image, left, top, width, part, 0, 0, width, part);
  }

  const className = (i) => inputs.classes[i];
  // One class, or all labels.
  const labels = (image) => image.labels ?? [image.label];
  const inUnit = (value) => String(Number(value.toPrecision(4)));
  function heading(image) {
    const name = image.file ?? `test image ${image.index}`;
    if (image.numbers) return `${name}, ${image.numbers.map((v, k) => `${className(k)} ${inUnit(v)}`).join(", ")}`;
    const names = labels(image).map(className).join(", ") || "none";
    return `${name}, ${image.labels ? "labels" : "class"} ${names}`;
  }

  inputs.images.forEach((image, i) => {
    const label = add(byId("chooser"), "label");
    const name = heading(image);
    const radio = add(label, "input", { type: "radio", name: "image", value: i, "aria-label": name });
    const thumbnail = add(label, "canvas", { "aria-hidden": "true" });
    image.image.addEventListener("load", () => draw(thumbnail, image, 0));
    radio.addEventListener("change", () => choose(i));
  });

  // For each vector in the plane that is shown: the right one in gray, and the predicted one.
  function compasses(parent, n) {
    const shown = networks[n].probabilities[0].classes.length;
    return (inputs.vectors ?? []).flatMap((places, v) => {
      if (places.length !== 2 || Math.max(...places) >= shown) return [];
      const figure = add(parent, "figure", { class: "layer" });
      add(figure, "figcaption", {}, `${places.map(className).join(", ")}; gray: right`);
      const box = { viewBox: "-1.1 -1.1 2.2 2.2", width: 110, height: 110, role: "img" };
      const svg = addSvg(figure, "svg", { ...box, "aria-label": "predicted and right vector" });
      addSvg(svg, "circle", { r: 1, fill: "none", stroke: "var(--line)", "stroke-width": 0.02 });
      const arrow = (stroke, width) => addSvg(svg, "line", { x1: 0, y1: 0, stroke, "stroke-width": width, "stroke-linecap": "round" });
      return [{ places, longest: inputs.longest[v] || 1, right: arrow("#9aa3ad", 0.16), said: arrow(color(n), 0.07) }];
    });
  }

  const views = networks.map((network, i) => {
    const article = add(byId("networks"), "article", { class: "network card" });
    const title = add(article, "h3");
    add(title, "span", { class: "swatch", style: `background: ${color(i)}` });
    title.append(network.name);
    const line = add(article, "p", {}, "invariance error ");
    const error = add(line, "output", { for: "angle", class: "error" });
    const parts = add(article, "div", { class: "parts" });
    const bars = add(parts, "table", { class: "bars" });
    const maps = add(parts, "div", { class: "maps" });
    const canvases = network.maps.map((layer) => {
      const figure = add(maps, "figure", { class: "layer" });
      const [height, width, orientations, channels] = layer.shape;
      const many = orientations > layer.rows.length ? `, ${layer.rows.length} of ${orientations} orientations` : "";
      const caption = `${layer.layer} (${layer.kind}), ${height} × ${width}${many}, ${layer.channels} of ${channels} channels`;
      add(figure, "figcaption", {}, caption);
      const body = add(add(figure, "table"), "tbody");
      return layer.rows.map((name) => {
        const row = add(body, "tr");
        if (name) add(row, "th", { scope: "row" }, name);
        const described = `feature maps${name ? ` of orientation ${name}` : ""}`;
        return add(add(row, "td"), "canvas", { role: "img", "aria-label": described });
      });
    });
    if (network.note) add(maps, "p", { class: "soft" }, network.note);
    return { error, bars, canvases, compasses: compasses(parts, i), cells: [] };
  });

  // A table row for each class; another image may show other classes.
  function choose(i) {
    chosen = i;
    byId("chooser").querySelectorAll("input")[i].checked = true;
    const image = inputs.images[i];
    byId("which").textContent = heading(image);
    views.forEach((view, n) => {
      const { classes } = networks[n].probabilities[i];
      view.bars.replaceChildren();
      const all = inputs.ranges ? "predicted numbers, from the least of the test images to the greatest" : "class probabilities";
      const few = inputs.ranges ? "the first predicted numbers" : "probabilities of the likeliest classes";
      add(view.bars, "caption", { class: "soft" }, classes.length < inputs.classes.length ? few : all);
      view.cells = classes.map((c) => {
        const row = add(view.bars, "tr", { class: labels(image).includes(c) ? "true" : "" });
        add(row, "th", { scope: "row" }, className(c));
        const bar = add(add(row, "td"), "i", { style: `background: ${color(n)}` });
        return { bar, number: add(row, "td") };
      });
    });
    drawCurve();
    show();
  }

  function show() {
    const now = frame();
    const degrees = Number(slider.value);
    byId("degrees").textContent = `${degrees}°`;
    slider.setAttribute("aria-valuetext", `${degrees} degrees`);
    draw(byId("turned"), inputs.images[chosen], now);
    byId("turned").setAttribute("aria-label", `the input turned by ${degrees} degrees`);
    views.forEach((view, n) => {
      const network = networks[n];
      view.error.textContent = readable(network.invariance[chosen][now]);
      network.probabilities[chosen].values[now].forEach((p, k) => {
        const [low, high] = inputs.ranges?.[network.probabilities[chosen].classes[k]] ?? [0, 1];
        const share = Math.min(1, Math.max(0, (p - low) / (high - low || 1)));
        view.cells[k].bar.style.width = `${100 * share}%`;
        view.cells[k].number.textContent = inputs.ranges ? inUnit(p) : `${(100 * p).toFixed(1)} %`;
      });
      view.compasses.forEach(({ places, longest, right, said }) => {
        const to = (line, values) => ["x2", "y2"].forEach((end, k) => line.setAttribute(end, values[places[k]] / longest));
        to(right, inputs.images[chosen].turning[now]);
        to(said, network.probabilities[chosen].values[now]);
      });
      network.maps.forEach((layer, l) => {
        const sheet = layer.images[chosen];
        const index = Math.round(now / layer.every) % (frames / layer.every);
        view.canvases[l].forEach((canvas, r) => draw(canvas, sheet, index, r, layer.rows.length));
      });
    });
    mark();
  }

  const readable = (x) => (x === 0 ? "0" : x < 0.01 ? x.toExponential(1) : x.toFixed(2));

  // The invariance error against the angle, drawn anew for the width that there is.
  const svg = byId("curve");
  const box = { left: 44, right: 12, top: 12, bottom: 36, height: 220 };
  let scale = null;

  function drawCurve() {
    const width = svg.parentElement.clientWidth;
    svg.setAttribute("viewBox", `0 0 ${width} ${box.height}`);
    svg.replaceChildren();
    const values = networks.map((n) => n.invariance[chosen]);
    const largest = Math.max(...values.flat(), 1e-9);
    const power = 10 ** Math.floor(Math.log10(largest));
    const top = [1, 2, 5, 10].map((f) => f * power).find((t) => t >= largest);
    const x = (a) => box.left + (a / 360) * (width - box.left - box.right);
    const y = (e) => box.height - box.bottom - (e / top) * (box.height - box.top - box.bottom);
    for (let a = 0; a <= 360; a += 90) {
      addSvg(svg, "line", { x1: x(a), x2: x(a), y1: y(0), y2: y(top), stroke: "var(--line)" });
      const anchor = a === 360 ? "end" : "middle";
      addSvg(svg, "text", { x: x(a) + (a === 360 ? 8 : 0), y: y(0) + 16, "text-anchor": anchor }, `${a}°`);
    }
    for (const e of [0, top / 2, top]) {
      addSvg(svg, "line", { x1: x(0), x2: x(360), y1: y(e), y2: y(e), stroke: "var(--line)" });
      addSvg(svg, "text", { x: x(0) - 6, y: y(e) + 4, "text-anchor": "end" }, String(Number(e.toPrecision(2))));
    }
    values.forEach((of, n) => {
      const points = [...of, of[0]].map((e, i) => `${x(i * inputs.step)},${y(e)}`).join(" ");
      addSvg(svg, "polyline", { points, fill: "none", stroke: color(n), "stroke-width": 2 });
    });
    const line = addSvg(svg, "line", { y1: y(0), y2: y(top), stroke: "var(--ink)", "stroke-dasharray": "4 3" });
    const dots = values.map((_, n) => addSvg(svg, "circle", { r: 5, fill: color(n), stroke: "var(--card)", "stroke-width": 2 }));
    scale = { x, y, line, dots };
  }

  function mark() {
    const place = scale.x(Number(slider.value));
    scale.line.setAttribute("x1", place);
    scale.line.setAttribute("x2", place);
    scale.dots.forEach((dot, n) => {
      dot.setAttribute("cx", place);
      dot.setAttribute("cy", scale.y(networks[n].invariance[chosen][frame()]));
    });
  }

  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = (Number(slider.value) + inputs.step) % 360;
      show();
    }, 100);
  });
  slider.addEventListener("pointerdown", stop);
  slider.addEventListener("keydown", stop);
  slider.addEventListener("input", show);
  window.addEventListener("resize", () => {
    drawCurve();
    mark();
  });

  // report.html#angle=90&image=1 begins there.
  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    slider.value = Number(asked.get("angle") ?? slider.value);
    const image = Number(asked.get("image") ?? chosen);
    choose(inputs.images[image] ? image : 0);
  }
  slider.step = inputs.step;
  byId("turning").hidden = false;
  read();
  window.addEventListener("hashchange", read);
})();
