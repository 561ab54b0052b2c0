"use strict";
// The graph of the walk: one column for each step, each sample beside the one that led to it.
// Values reach the page by textContent only; nothing here makes markup or a request.
(() => {
  const walk = JSON.parse(document.getElementById("walk").textContent);
  const stage = document.getElementById("stage");
  const why = document.getElementById("why");
  const ROW = 20, GUTTER = 96, TOP = 10, CHAR = 7.25;
  const limit = walk.nodes.length > 120 ? 6 : 14;
  const large = walk.nodes.length > 400;
  const ROWS = 240; // of a large walk, about as many as are drawn before anybody unfolds or seeks anything
  const SVG = "http://www.w3.org/2000/svg";

  // children of a sample, in bunches: one for each source that led from it in one step
  const bunches = walk.nodes.map(() => []);
  walk.nodes.forEach((node, i) => {
    if (node.parent === null) return;
    const own = bunches[node.parent];
    let bunch = own.find((b) => b.filter === node.filter && b.column === node.column);
    if (!bunch) own.push((bunch = { filter: node.filter, column: node.column, nodes: [], open: false, first: new Set() }));
    bunch.nodes.push(i);
  });

  // What a folded bunch still shows: samples that lead on, and the first few of the others. Of a large walk few of either,
  // nearest to the trailhead first, until the rows are spent; behind that a bunch is one row that says how many it holds.
  let room = large ? ROWS : Infinity;
  for (let level = [0], following; level.length; level = following) {
    following = [];
    for (const bunch of level.flatMap((i) => bunches[i])) {
      let leading = 0, quiet = 0;
      for (const i of bunch.nodes) {
        const leads = bunches[i].length > 0;
        if (room <= 0) break;
        if (bunch.nodes.length > limit + 2 && (leads ? large && leading++ >= limit : quiet++ >= limit)) continue;
        bunch.first.add(i);
        following.push(i);
        room -= 1 + bunches[i].length;
      }
    }
  }
  const behind = walk.nodes.map(() => 0); // how many samples only come after this one
  for (let i = walk.nodes.length - 1; i > 0; i--) if (walk.nodes[i].parent !== null) behind[walk.nodes[i].parent] += 1 + behind[i];

  let chosen = null, wanted = "", until = walk.columns.length;
  let label = 236; // width of a column's text; wider where few steps leave room

  const draw = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const make = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const short = (text) => {
    const chars = Math.floor((label - 22) / CHAR);
    return text.length <= chars ? text : text.slice(0, chars - 11) + "…" + text.slice(-10);
  };
  const hit = (i) => wanted !== "" && walk.nodes[i].column <= until && walk.nodes[i].text.toLowerCase().includes(wanted);
  const left = (column) => 12 + column * (label + GUTTER);

  // what is looked for, and the way to it, is always drawn
  const visible = (bunch) => (bunch.open ? bunch.nodes : bunch.nodes.filter((i) => bunch.first.has(i) || onPath.has(i) || sought.has(i)));

  let onPath = new Set(), sought = new Set(), hits = 0;
  function path(i) {
    const all = [];
    for (let at = i; at !== null; at = walk.nodes[at].parent) all.unshift(at);
    return all;
  }

  function layout() {
    const rows = new Map(), edges = [], mores = [];
    let next = 0;
    // a sample shares its row with the first of its children: the walk reads from left to right
    const place = (i) => {
      rows.set(i, next);
      let first = true;
      for (const bunch of bunches[i]) {
        if (bunch.column > until) continue;
        const shown = visible(bunch);
        const edge = { from: i, bunch, rows: [] };
        for (const child of shown) {
          if (!first) next += 1;
          first = false;
          edge.rows.push([child, next]);
          place(child);
        }
        if (shown.length < bunch.nodes.length || bunch.open) {
          if (!first) next += 1;
          first = false;
          const drawn = new Set(shown), hidden = bunch.nodes.filter((child) => !drawn.has(child));
          mores.push({ bunch, row: next, hidden });
          if (!shown.length) edge.rows.push([null, next]);
        }
        edges.push(edge);
      }
    };
    place(0);
    return { rows, edges, mores, height: TOP * 2 + (next + 1) * ROW };
  }

  function render() {
    onPath = new Set(chosen === null ? [] : path(chosen));
    sought = new Set();
    hits = 0;
    if (wanted) walk.nodes.forEach((_, i) => {
      if (!hit(i)) return;
      hits += 1;
      for (let at = i; at !== null && !sought.has(at); at = walk.nodes[at].parent) sought.add(at);
    });
    const { rows, edges, mores, height } = layout();
    const columns = walk.columns.length + 1;
    label = Math.min(420, Math.max(236, Math.floor((stage.clientWidth - 48) / columns) - GUTTER));
    const width = Math.max(left(columns - 1) + label + 24, stage.clientWidth - 20);
    const svg = draw("svg", { width, height, role: "group", "aria-label": walk.nodes.length + (walk.nodes.length === 1 ? " sample" : " samples") });
    if (wanted) svg.setAttribute("class", "searching");
    const y = (row) => TOP + row * ROW + ROW / 2;
    const lit = [], tags = [];

    for (const { from, bunch, rows: own } of edges) {
      if (!own.length) continue;
      // the trunk stands beside the parent, and each branch runs in its own sample's row: no label is crossed
      const x1 = left(walk.nodes[from].column) + 22 + short(walk.nodes[from].text).length * CHAR;
      const spine = left(walk.nodes[from].column + 1) - 16, x2 = left(bunch.column), y1 = y(rows.get(from));
      const bend = (y2, x) => (y2 === y1 ? `M${x} ${y1}H${x2}` : `M${x} ${y1}H${spine - 6}q6 0 6 6V${y2 - 6}q0 6 6 6H${x2}`);
      svg.append(draw("path", { d: bend(y(own[own.length - 1][1]), x1) }));
      for (const [child, row] of own) {
        const y2 = y(row);
        svg.append(draw("path", { d: y2 === y1 ? bend(y1, x1) : `M${spine} ${y2 - 6}q0 6 6 6H${x2}` }));
        if (onPath.has(child)) lit.push(draw("path", { class: "on", d: bend(y2, x1) }));
      }
      tags.push(draw("text", { class: "tag", x: x2 - 24, y: y(own[0][1]) - 3, "text-anchor": "end" }, bunch.filter));
    }
    svg.append(...lit, ...tags);
    if (chosen !== null) {
      for (const [from, to] of walk.links) {
        if ((from !== chosen && to !== chosen) || !rows.has(from) || !rows.has(to)) continue;
        const x1 = left(walk.nodes[from].column) + 8, x2 = left(walk.nodes[to].column) + 8;
        const y1 = y(rows.get(from)), y2 = y(rows.get(to)), pull = x1 === x2 ? -40 : (x2 - x1) / 2;
        svg.append(draw("path", { class: "cross", d: `M${x1} ${y1}C${x1 + pull} ${y1} ${x2 - (x1 === x2 ? 40 : pull)} ${y2} ${x2} ${y2}` }));
      }
    }
    for (const [i, row] of rows) svg.append(drawNode(i, left(walk.nodes[i].column), y(row)));
    for (const { bunch, row, hidden } of mores) svg.append(drawMore(bunch, hidden, left(bunch.column), y(row)));
    const head = make("div", "columns");
    const titles = ["Trailhead"].concat(walk.columns.map((_, i) => "Step " + (i + 1)));
    titles.forEach((title, i) => {
      const cell = make("div");
      cell.append(make("b", "", title));
      if (i) cell.append(make("span", "muted", walk.columns[i - 1].mapping.join(" + ") + " · +" + walk.columns[i - 1].added));
      cell.style.width = (i === titles.length - 1 ? width - left(i) + 12 : label + GUTTER) + "px";
      cell.title = cell.textContent;
      head.append(cell);
    });
    head.style.width = width + "px";
    const place = [stage.scrollLeft, stage.scrollTop];
    stage.replaceChildren(head, svg);
    document.getElementById("hits").textContent = wanted ? `${hits} found` : "";
    [stage.scrollLeft, stage.scrollTop] = place;
  }

  function drawNode(i, x, y) {
    const node = walk.nodes[i];
    const doubt = node.doubted ? " (doubted)" : "";
    const group = draw("g", { class: node.doubted ? "node doubted" : "node", tabindex: 0, role: "button", "aria-label": node.kind + " " + node.text + doubt, "data-node": i });
    if (onPath.has(i)) group.classList.add("on");
    if (hit(i)) group.classList.add("hit");
    group.append(draw("rect", { x: x - 2, y: y - 9, width: label, height: 18, rx: 4 }));
    if (node.family === "address" || node.family === "name") group.append(draw("circle", { class: node.family, cx: x + 7, cy: y, r: 4.5 }));
    else group.append(draw("rect", { class: "shape", x: x + 3, y: y - 4, width: 8, height: 8, rx: 1 }));
    const shape = group.lastChild;
    if (shape.tagName === "rect") {
      shape.setAttribute("class", node.family);
      shape.style.fill = `var(--${node.family})`;
      if (node.family === "file") shape.setAttribute("transform", `rotate(45 ${x + 7} ${y})`);
    }
    group.append(draw("text", { x: x + 18, y: y + 4 }, short(node.text)));
    group.append(draw("title", {}, node.kind + " " + node.text + doubt));
    return group;
  }

  function drawMore(bunch, hidden, x, y) {
    const group = draw("g", { class: "node", tabindex: 0, role: "button" });
    group.append(draw("rect", { x: x - 2, y: y - 9, width: label, height: 18, rx: 4 }));
    const after = hidden.reduce((sum, i) => sum + behind[i], 0), families = {};
    for (const i of hidden) families[walk.nodes[i].family] = (families[walk.nodes[i].family] ?? 0) + 1;
    const all = hidden.length === bunch.nodes.length;
    const many = all ? `${hidden.length} sample${hidden.length === 1 ? "" : "s"}` : `+ ${hidden.length} more`;
    const text = hidden.length ? many + (after ? `, ${after} behind` : "") : "− fewer";
    group.append(draw("text", { class: "more", x: x + 18, y: y + 4 }, text));
    group.append(draw("title", {}, Object.entries(families).map(([family, n]) => `${n} ${family}`).join(", ") || "Fold"));
    group.bunch = bunch;
    return group;
  }

  function explain() {
    const node = walk.nodes[chosen];
    const title = make("div");
    title.append(make("i", "dot " + node.family), make("bdi", "value", node.text), make("span", "muted", " " + node.kind + (node.doubted ? ", doubted at the end" : "")));
    const chain = make("ol");
    path(chosen).forEach((i) => {
      if (walk.nodes[i].filter) chain.append(make("li", "by muted", walk.nodes[i].filter + ", step " + walk.nodes[i].column));
      const item = make("li");
      item.append(make("bdi", "value", walk.nodes[i].text));
      chain.append(item);
    });
    const also = [...new Set(walk.links.filter(([, to]) => to === chosen).map(([from, , filter]) => filter + " from " + walk.nodes[from].text))];
    why.replaceChildren(title, chain);
    // exact: without that lookup no chain of the others leads to these samples
    for (const [filter, about, lost] of walk.lost) {
      if (about !== chosen && !(about === node.parent && lost.includes(chosen))) continue;
      const some = lost.slice(0, 6).map((i) => walk.nodes[i].text).join(", ") + (lost.length > 6 ? ` and ${lost.length - 6} more` : "");
      const text = `Without asking ${filter} about ${about === chosen ? "this" : walk.nodes[about].text}, ${lost.length} sample${lost.length === 1 ? "" : "s"} would not be here: ${some}`;
      why.append(make("div", "lost", text));
    }
    if (also.length) why.append(make("div", "muted", "also by " + also.slice(0, 8).join("; ") + (also.length > 8 ? ` and ${also.length - 8} more` : "")));
  }

  function act(target) {
    const group = target.closest("g.node");
    if (!group) return;
    if (group.bunch) group.bunch.open = !group.bunch.open;
    else { chosen = Number(group.dataset.node); explain(); }
    const again = group.dataset.node;
    render();
    if (again !== undefined) stage.querySelector(`[data-node="${Number(again)}"]`)?.focus({ preventScroll: true });
  }
  stage.addEventListener("click", (event) => act(event.target));
  stage.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    if (event.target.closest("g.node")) { event.preventDefault(); act(event.target); }
  });
  const all = (open) => { bunches.flat().forEach((bunch) => { bunch.open = open; }); render(); };
  document.getElementById("unfold").addEventListener("click", () => all(true));
  document.getElementById("fold").addEventListener("click", () => all(false));
  document.getElementById("find").addEventListener("input", (event) => {
    wanted = event.target.value.trim().toLowerCase();
    render();
    stage.querySelector(".hit")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  document.getElementById("until")?.addEventListener("input", (event) => {
    until = Number(event.target.value);
    event.target.nextElementSibling.textContent = until;
    render();
  });
  let waiting = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(render);
  });
  render();
  performance.mark("graph");
})();

// The table of questions, which stands behind this script: by outcome and by text.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.getElementById("questions");
  if (!table) return;
  const rows = [...table.tBodies[0].rows], words = document.getElementById("filter");
  const toggles = [...document.querySelectorAll(".toggle")];
  const sift = () => {
    const off = new Set(toggles.filter((t) => t.getAttribute("aria-pressed") === "false").map((t) => t.dataset.outcome));
    const text = words.value.trim().toLowerCase();
    for (const row of rows) row.hidden = off.has(row.dataset.outcome) || !row.textContent.toLowerCase().includes(text);
  };
  words.addEventListener("input", sift);
  for (const toggle of toggles) toggle.addEventListener("click", () => {
    toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") === "false"));
    sift();
  });
});
