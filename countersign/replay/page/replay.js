// Plays the moments of the page on a clock. It reads times and adds classes; what was recorded stays text.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const items = [...document.querySelectorAll(".moment[data-at]")];
  const ticks = [...document.querySelectorAll(".tick")];
  if (!items.length) return;
  const play = byId("play"), scrub = byId("scrub"), clock = byId("clock"), speed = byId("speed"), skip = byId("skip");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const terminals = new Map();
  let times = [], end = 0, at = 0, playing = false, before = 0, shown = -1;

  // On the chosen clock: with or without silences.
  function reckon() {
    const place = shown >= 0 ? shown : items.length - 1;
    times = items.map((item) => Number(skip.checked ? item.dataset.short : item.dataset.at));
    end = times[times.length - 1];
    for (const tick of ticks) {
      const when = Number(skip.checked ? tick.dataset.short : tick.dataset.at);
      tick.setAttribute("x", String(end ? (when / end) * 997 : 0));
    }
    at = times[place];
    show();
  }

  function told(seconds) {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${(seconds - minutes * 60).toFixed(1).padStart(4, "0")}`;
  }

  function show() {
    let last = 0;
    while (last + 1 < times.length && times[last + 1] <= at) last += 1;
    if (last !== shown) {
      items.forEach((item, number) => {
        item.classList.toggle("later", number > last);
        item.classList.toggle("now", playing && number === last);
      });
      if (playing && last > shown) {
        items[last].scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
        terminals.get(items[last])?.play();
      }
      shown = last;
    }
    clock.textContent = `${told(at)} / ${told(end)}`;
    scrub.value = String(end ? Math.round((at / end) * 1000) : 1000);
    scrub.setAttribute("aria-valuetext", `${told(at)} of ${told(end)}`);
  }

  // A terminal goes on when the clock has reached the end: it has a clock of its own.
  function set(on, ended = false) {
    playing = on;
    play.setAttribute("aria-pressed", String(on));
    byId("play-sign").textContent = on ? "❚❚" : "▶";
    byId("play-word").textContent = on ? "Pause" : "Play";
    if (!on) {
      items.forEach((item) => item.classList.remove("now"));
      if (!ended) terminals.forEach((player) => player.pause());
      return;
    }
    if (at >= end) { at = 0; shown = -1; }
    before = performance.now();
    show();
    requestAnimationFrame(step);
  }

  function step(now) {
    if (!playing) return;
    at = Math.min(end, at + ((now - before) / 1000) * Number(speed.value));
    before = now;
    show();
    if (at >= end) set(false, true);
    else requestAnimationFrame(step);
  }

  function draw() {
    const casts = JSON.parse(byId("casts").textContent);
    for (const place of document.querySelectorAll(".terminal")) {
      const data = casts[place.dataset.cast];
      if (!data || typeof AsciinemaPlayer === "undefined") continue;
      const player = AsciinemaPlayer.create({ data }, place, { idleTimeLimit: 2, fit: "width", preload: true, poster: "npt:0:01" });
      terminals.set(place.closest(".moment"), player);
    }
  }

  play.addEventListener("click", () => set(!playing));
  skip.addEventListener("change", reckon);
  scrub.addEventListener("input", () => { at = (Number(scrub.value) / 1000) * end; show(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && (event.target === document.body || event.target === scrub)) {
      event.preventDefault();
      set(!playing);
    }
  });
  // A link into the run's steps may lead to what is not told yet.
  window.addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const number = items.indexOf(target);
    if (number < 0) return;
    at = Math.max(at, times[number]);
    show();
    target.scrollIntoView({ block: "start" });
  });
  document.querySelector(".player").hidden = false;
  reckon();
  draw();
})();
