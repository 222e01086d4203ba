/**
 * The one style sheet of the pages. It stands in the page itself, and the content security policy names its hash: what
 * else came into a page would not be applied.
 */
export const style = `
:root {
  color-scheme: light dark;
  --ground: #f3f2ee;
  --card: #ffffff;
  --inset: #f7f6f3;
  --ink: #1b2124;
  --muted: #57616a;
  --line: #dcdad3;
  --edge: #7d858c;
  --accent: #0c6157;
  --accent-strong: #084a42;
  --on-accent: #ffffff;
  --cable: #d9692f;
  --alarm: #a8261c;
  --alarm-ground: #fdf1ef;
  --caution-line: #e5d3a1;
  --caution-ground: #fdf7e6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #101415;
    --card: #191f21;
    --inset: #20272a;
    --ink: #e9edee;
    --muted: #a5b0b5;
    --line: #323b3f;
    --edge: #7f8b91;
    --accent: #6ccfc0;
    --accent-strong: #93e0d4;
    --on-accent: #06201c;
    --cable: #ee8a52;
    --alarm: #ff9d92;
    --alarm-ground: #2e1a18;
    --caution-line: #55482b;
    --caution-ground: #29241a;
  }
}
@media (prefers-contrast: more) {
  :root { --muted: var(--ink); --line: var(--ink); --edge: var(--ink); --caution-line: var(--ink); }
}

*, ::before, ::after { box-sizing: border-box; margin: 0; padding: 0; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  min-height: 100vh;
  min-height: 100dvh;
  display: flex;
  flex-direction: column;
  align-items: center;
  background: var(--card);
  color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}
main {
  width: 100%;
  max-width: 31rem;
  padding: 2rem 1.25rem 1rem;
}
footer {
  padding: 1.25rem;
  color: var(--muted);
  font-size: .875rem;
}
@media (min-width: 34rem) {
  body { padding: 3rem 1rem 1rem; background: var(--ground); }
  footer { margin-bottom: auto; }
  main {
    margin-top: auto;
    background: var(--card);
    padding: 2.75rem 2.75rem 3rem;
    border: 1px solid var(--line);
    border-radius: 1.25rem;
    box-shadow: 0 1px 2px rgb(0 0 0 / .04), 0 12px 40px rgb(0 0 0 / .06);
  }
}

h1 { font-size: 1.625rem; line-height: 1.25; font-weight: 650; letter-spacing: -.015em; text-wrap: balance; }
h2, legend { font-size: 1rem; line-height: 1.4; font-weight: 600; }
legend strong { font-weight: 700; }
p { text-wrap: pretty; }
h1 + p { margin-top: .75rem; }
p + p { margin-top: .5rem; }
.lead { font-size: 1.0625rem; }
.lead ~ p, .hint { color: var(--muted); }
strong { font-weight: 650; }
code.secret { display: block; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); overflow-wrap: anywhere; user-select: all; }
code { font: .875em/1.4 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace; }
a { color: var(--accent); text-underline-offset: .2em; }
a:hover { color: var(--accent-strong); }

.patch { display: flex; margin-bottom: 1.5rem; color: var(--cable); }
.patch svg { flex: none; margin-inline: -.4375rem; z-index: 1; fill: none; stroke: currentColor; stroke-width: 4; }
.under-way svg { margin-inline: 0; }
.patch circle { fill: currentColor; stroke: none; }
.tile {
  flex: none;
  display: grid;
  place-items: center;
  width: 3.5rem;
  height: 3.5rem;
  border: 1px solid var(--line);
  border-radius: 1rem;
  background: var(--inset);
  color: var(--accent);
  font-size: 1.5rem;
  font-weight: 650;
  line-height: 1;
  overflow: hidden;
}
.tile img { position: relative; width: 2.5rem; height: 2.5rem; object-fit: contain; }
/* Drawn only where the image does not load. */
.tile img::after {
  content: attr(data-letter);
  position: absolute;
  inset: -2px;
  display: grid;
  place-items: center;
  background: var(--inset);
}

form { margin-top: 1.75rem; }
fieldset { border: 0; min-width: 0; }
legend { margin-bottom: 1rem; }
.field + .field { margin-top: 1.25rem; }
label { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 1rem; font-weight: 600; }
label span { color: var(--muted); font-size: .875rem; font-weight: 400; }
.description { color: var(--muted); font-size: .9375rem; line-height: 1.45; }
.problem { margin-top: .25rem; color: var(--alarm); font-size: .9375rem; font-weight: 600; }
input, select {
  display: block;
  width: 100%;
  min-height: 3rem;
  margin-top: .5rem;
  padding: .625rem .875rem;
  border: 1px solid var(--edge);
  border-radius: .625rem;
  background: var(--card);
  color: inherit;
  font: inherit;
}
input[type="hidden"] { display: none; }
input[aria-invalid] { border: 2px solid var(--alarm); }

.terms {
  margin-top: 1.75rem;
  padding: 1.25rem;
  border: 1px solid var(--line);
  border-radius: .875rem;
  background: var(--inset);
}
fieldset + .terms { margin-top: 2rem; }
.terms + .field { margin-top: 1.5rem; }
dl { margin-top: .75rem; }
dl div { padding-block: .625rem; border-top: 1px solid var(--line); }
dl div:last-child { padding-bottom: 0; }
dt { color: var(--muted); font-size: .9375rem; }
dd p { color: var(--muted); font-size: .9375rem; }
@media (min-width: 22rem) {
  dl div { display: grid; grid-template-columns: 6.25rem 1fr; column-gap: 1rem; align-items: baseline; }
}
.scopes { display: flex; flex-wrap: wrap; gap: .375rem; list-style: none; }
.scopes code { display: block; padding: .125rem .5rem; border: 1px solid var(--line); border-radius: .375rem; background: var(--card); }

.problems, .caution { padding: 1rem 1.25rem; border: 1px solid; border-radius: .875rem; }
.problems { margin-bottom: 2rem; border-color: var(--alarm); background: var(--alarm-ground); }
.problems h2 { color: var(--alarm); }
.problems ul { margin-top: .25rem; list-style: none; }
.problems a { display: block; padding-block: .625rem; color: var(--alarm); }
.caution { margin-top: 1rem; border-color: var(--caution-line); background: var(--caution-ground); font-size: .9375rem; }

button, .button {
  display: flex;
  align-items: center;
  justify-content: center;
  width: 100%;
  min-height: 3.25rem;
  margin-top: 1.5rem;
  padding: .75rem 1.25rem;
  border: 1px solid transparent;
  border-radius: .75rem;
  background: var(--accent);
  color: var(--on-accent);
  font: inherit;
  font-weight: 600;
  text-align: center;
  text-decoration: none;
  cursor: pointer;
}
button:hover, .button:hover { background: var(--accent-strong); color: var(--on-accent); }
button.quiet { margin-top: .75rem; border-color: var(--edge); background: transparent; color: var(--accent); }
button.quiet:hover { background: var(--inset); color: var(--accent-strong); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.problems:focus-visible { outline-color: var(--alarm); outline-offset: -1px; }

.sign { display: block; margin-bottom: 1.5rem; fill: none; stroke: currentColor; stroke-width: 4; stroke-linecap: round; stroke-linejoin: round; }
.sign circle { stroke-width: 2; }
.success { color: var(--accent); }
.failure { color: var(--alarm); }
.gone { color: var(--muted); }

@media (prefers-reduced-motion: no-preference) {
  button, .button { transition: background-color .15s; }
  .under-way path { stroke-dasharray: 10 6; animation: travel 1s linear infinite; }
}
@keyframes travel { to { stroke-dashoffset: -16; } }
@media (forced-colors: active) {
  .patch, .sign { color: CanvasText; }
  button, .button { border-color: ButtonText; }
}
`;
