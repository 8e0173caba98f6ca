"""The style sheet and the script of the gallery. They load nothing from the network."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #f7f5f0; --sheet: #fffdf9; --ink: #201d18; --soft: #756e62; --line: #e2ddd2;
  --accent: #b4512b; --alarm: #a3261f; --alarm-sheet: #fbeeea; --row: 15rem;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131210; --sheet: #1c1a17; --ink: #ece7dd; --soft: #9b9386; --line: #322e28;
    --accent: #e8935f; --alarm: #f08a80; --alarm-sheet: #2a1917;
  }
}
@media (max-width: 40rem) { :root { --row: 9.5rem; } }
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 120rem; padding: 0 clamp(1rem, 4vw, 4rem) 4rem;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", sans-serif; }
a { color: inherit; }
.head { padding: clamp(2rem, 6vw, 5rem) 0 1.5rem; display: grid; gap: 1.5rem; }
.over { margin: 0; color: var(--accent); font-size: .8rem; letter-spacing: .14em; text-transform: uppercase; }
h1 { margin: .2rem 0 0; font: 400 clamp(2.2rem, 6vw, 4.5rem)/1.05 ui-serif, "Iowan Old Style", Georgia, serif;
  letter-spacing: -.02em; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.6rem; margin: 0; padding: 1.1rem 0 0;
  border-top: 1px solid var(--line); }
.facts div { display: flex; flex-direction: column-reverse; }
.facts dd { margin: 0; font: 400 1.7rem/1.2 ui-serif, "Iowan Old Style", Georgia, serif;
  font-variant-numeric: lining-nums tabular-nums; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts .alarm dd { color: var(--alarm); }
.bar { position: sticky; top: 0; z-index: 2; display: flex; align-items: center; gap: 1rem;
  margin: 0 calc(-1 * clamp(1rem, 4vw, 4rem)) 1.5rem; padding: .7rem clamp(1rem, 4vw, 4rem);
  background: color-mix(in srgb, var(--paper) 88%, transparent); backdrop-filter: blur(12px);
  border-bottom: 1px solid var(--line); }
.bar input { flex: 0 1 26rem; min-width: 0; font: inherit; color: inherit; background: var(--sheet);
  border: 1px solid var(--line); border-radius: 99px; padding: .45rem 1.1rem; }
.bar input:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.bar output, .bar a { color: var(--soft); font-size: .85rem; white-space: nowrap; }
.bar a { margin-left: auto; color: var(--alarm); }
.failures { margin: 0 0 2.5rem; padding: 1rem 1.4rem; background: var(--alarm-sheet); border-radius: .8rem;
  scroll-margin-top: 5rem; }
.failures summary { cursor: pointer; color: var(--alarm); font-weight: 600; }
.failures ol { list-style: none; margin: .6rem 0 0; padding: 0; max-height: 30rem; overflow: auto; }
.failures li { padding: .7rem 0; border-top: 1px solid var(--line); content-visibility: auto;
  contain-intrinsic-size: auto 5rem; }
.failures p { margin: 0; overflow-wrap: anywhere; }
.failures .why { color: var(--alarm); font-size: .9rem; }
.failures .ids { color: var(--soft); font: .78rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.wall { display: flex; flex-wrap: wrap; gap: 1.6rem 1rem; }
.wall::after { content: ""; flex: 1000 0 0; }
.wall figure { --r: 1; margin: 0; flex: var(--r) 1 calc(var(--r) * var(--row)); min-width: 6rem;
  max-width: calc(var(--r) * var(--row) * 1.8); content-visibility: auto;
  contain-intrinsic-size: auto calc(var(--r) * var(--row)) auto calc(var(--row) + 5rem); }
.wall .piece { display: block; background: var(--line); border-radius: .35rem; overflow: hidden;
  box-shadow: 0 1px 2px rgb(0 0 0 / .14); transition: box-shadow .2s, transform .2s; }
.wall a.piece:hover { box-shadow: 0 10px 28px rgb(0 0 0 / .28); transform: translateY(-2px); }
.wall a.piece:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.wall img, .wall video { display: block; width: 100%; height: auto; aspect-ratio: auto var(--r); }
.wall audio { display: block; width: 100%; }
.wall .sound { background: none; box-shadow: none; border-radius: 0; display: grid; gap: .5rem; }
.wall .sound img { border-radius: .35rem; }
.wall .words { background: var(--sheet); border: 1px solid var(--line);
  max-height: calc(var(--row) + 1rem); overflow: auto;
  padding: .9rem 1.1rem; font: .92rem/1.55 ui-serif, "Iowan Old Style", Georgia, serif; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.wall .words:focus-visible { outline: 2px solid var(--accent); }
figcaption { padding: .55rem .1rem 0; font-size: .86rem; line-height: 1.42; }
figcaption p { margin: 0; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3;
  overflow: hidden; overflow-wrap: anywhere; }
figcaption small { display: block; margin-top: .2rem; color: var(--soft); font-size: .75rem;
  font-variant-numeric: tabular-nums; }
figcaption b { color: var(--accent); font-weight: 500; }
.lack { color: var(--alarm); }
[hidden] { display: none !important; }
.foot { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .8rem; }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; scroll-behavior: auto !important; } }
@media print { .bar { display: none; } }
"""

SCRIPT: Final = """
const box = document.querySelector(".bar input"), shown = document.querySelector(".bar output");
const pieces = [...document.querySelectorAll("[data-words]")];
let soon;
box.addEventListener("input", () => {
  clearTimeout(soon);
  soon = setTimeout(() => {
    const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let left = 0;
    for (const piece of pieces) {
      const fits = words.every(word => piece.dataset.words.includes(word));
      piece.hidden = !fits;
      left += fits;
    }
    shown.textContent = words.length ? `${left} of ${pieces.length}` : "";
  }, 80);
});
"""
