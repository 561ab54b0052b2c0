"use strict";
// What makes the desk quicker for hands that type: a preview, ticks by the dial, progress that moves. All of it works without.
// Values reach the page by textContent only.
(() => {
  const root = document.body.dataset.root;
  const at = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");

  const make = (name, className, text) => {
    const element = document.createElement(name);
    element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // what each line is taken for
  const list = at("list"), preview = at("preview");
  if (list && preview) {
    const begin = preview.firstElementChild;
    let waiting = 0, asked = 0;
    const show = (lines) => {
      const rows = make("ol", "");
      for (const line of lines) {
        const row = make("li", "");
        if (line.problem) row.append(make("span", "bad", `line ${line.line}: ${line.problem}`));
        else {
          const value = make("span", "");
          const defanged = make("bdi", "value", line.shown);
          value.append(defanged);
          if (line.last) value.append(make("span", "muted", `  ${line.last.replace("_", " ")} before, TLP:${line.tlp.toUpperCase()}`));
          row.append(make("span", "kind", line.kind), value);
        }
        rows.append(row);
      }
      preview.replaceChildren(lines.length ? rows : begin);
    };
    const ask = async () => {
      const number = ++asked;
      const answer = await fetch(`${root}/api/preview`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ text: list.value.slice(0, 200000) }),
      });
      if (number !== asked) return; // a later one is under way
      if (answer.ok) show(await answer.json());
      else preview.replaceChildren(make("p", "bad", `The preview cannot be had (${answer.status}).`));
    };
    list.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(ask, 250);
    });
    if (list.value.trim()) ask();
  }

  // active DNS: only where the tags allow it
  for (const check of document.querySelectorAll("[data-active-dns]")) {
    const allowed = JSON.parse(check.dataset.activeDns);
    const box = check.querySelector("input"), hint = check.querySelector(".hint");
    const { tlp, pap } = check.closest("form").elements;
    const look = () => {
      const may = allowed[tlp.value].includes(pap.value);
      box.disabled = !may;
      if (!may) box.checked = false;
      hint.textContent = may ? "" : `not with TLP:${tlp.value.toUpperCase()}, PAP:${pap.value.toUpperCase()}`;
    };
    tlp.addEventListener("change", look);
    pap.addEventListener("change", look);
    look();
  }

  // ticks: a whole list, or all above the dial
  const deciding = at("deciding");
  if (deciding) {
    const boxes = () => [...deciding.querySelectorAll("input[name=sample]")];
    const tell = () => {
      const count = boxes().filter((box) => box.checked).length;
      if (at("ticked")) at("ticked").textContent = count ? `${count} ticked` : "";
    };
    deciding.addEventListener("change", (event) => {
      if (event.target.classList.contains("all")) {
        for (const box of event.target.closest("table").querySelectorAll("input[name=sample]")) box.checked = event.target.checked;
      }
      tell();
    });
    at("tick")?.addEventListener("click", () => {
      const least = Number(at("dial").value);
      for (const box of boxes()) {
        const belief = box.closest("tr").dataset.belief;
        box.checked = belief !== "" && Number(belief) >= least;
      }
      tell();
    });
  }

  // the night moves
  const bar = at("progress");
  if (bar) {
    at("polling").textContent = ", then every 5 s";
    const look = async () => {
      if (document.hidden) return;
      const answer = await fetch(`${root}/api/night`);
      if (!answer.ok) return;
      const night = await answer.json();
      bar.value = night.percent;
      at("percent").textContent = night.percent;
      const counts = [...Object.entries(night.open), ...Object.entries(night.finished)];
      at("night-counts").replaceChildren(
        ...counts.flatMap(([state, count]) => [make("span", `badge state-${state.replace("_", "-")}`, `${count} ${state.replace("_", " ")}`), " "]),
      );
      for (const used of document.querySelectorAll("#night-lookups b")) {
        const run = night.lookups.find((one) => one.run === used.dataset.run);
        if (run) used.textContent = run.used.toLocaleString("en-US");
      }
    };
    setInterval(look, 5000);
  }

  // "/" looks for something
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && at("find")) {
      event.preventDefault();
      at("find").focus();
    }
  });
})();
