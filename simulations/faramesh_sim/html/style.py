"""The look of the page. Colours are named once, for light and dark; each meaning also has a form of its own, so that it can be
told without colour."""

STYLE = """
:root { --paper:#fbfbf9; --ink:#1c2127; --soft:#6b7580; --line:#dfe3e6; --card:#fff;
  --base:#cfd9e2; --killed:#c62f2f; --denied:#e8a33d; --off:#ececea; --fault:#7a4fb5; --cut:#2b2f36; --good:#1f7a4d;
  --p0:#2f7fd1; --p1:#1f9e89; --p2:#8a63d2; --p3:#c2648a; --p4:#6d8f1f; --p5:#3a6ea5; --tick:#1c2127; }
@media (prefers-color-scheme: dark) { :root { --paper:#14171a; --ink:#e8ebee; --soft:#97a1ab; --line:#2c333a; --card:#1b2025;
  --base:#3a4753; --killed:#e5534b; --denied:#d59a3a; --off:#22272c; --fault:#a98be0; --cut:#d7dbe0; --good:#4cc38a;
  --p0:#4a9bf0; --p1:#35bda5; --p2:#a585ea; --p3:#e085aa; --p4:#9cc23c; --p5:#6fa3da; --tick:#e8ebee; } }
* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif }
main { max-width:1500px; margin:0 auto; padding:28px 28px 48px }
.kind { margin:0; color:var(--soft); font-size:13px; letter-spacing:.04em; text-transform:uppercase }
h1 { margin:2px 0 4px; font-size:26px; line-height:1.25 } h2 { font-size:18px; margin:0 0 8px } header p { margin:0 }
.verdict { display:inline-block; margin-left:10px; padding:1px 10px; border-radius:999px; font-weight:600; color:#fff }
.verdict.good { background:var(--good) } .verdict.bad { background:var(--killed) }
.facts { display:flex; flex-wrap:wrap; gap:10px; margin:18px 0 0 }
.facts div { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:8px 14px; min-width:120px }
.facts dt { color:var(--soft); font-size:12.5px } .facts dd { margin:0; font-size:19px; font-weight:600; font-variant-numeric:tabular-nums }
.broken { margin:16px 0 0; padding:12px 12px 12px 30px; border:1px solid var(--killed); border-radius:8px; background:var(--card) }
section { margin-top:26px } .chart { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:14px 14px 8px; overflow-x:auto }
.legend { display:flex; flex-wrap:wrap; gap:4px 18px; font-size:13px; color:var(--soft); margin:0 0 8px 4px }
.legend span { display:inline-flex; align-items:center; gap:6px } .legend svg { flex:none }
svg text { font:11px system-ui,-apple-system,"Segoe UI",sans-serif; fill:var(--soft) } svg .region { font-weight:700; fill:var(--ink); font-size:12px }
svg .label { fill:var(--ink); font-size:11px } svg .killlabel { fill:var(--killed); font-weight:600 } svg .faultlabel { fill:var(--fault) } svg .cutlabel { fill:var(--cut) }
svg .planlabel { fill:var(--p0) } .more { margin:0 0 6px 4px; font-size:13px; color:var(--soft) } .repro { margin-top:12px }
code { font:13px ui-monospace,Menlo,Consolas,monospace; background:var(--card); border:1px solid var(--line); border-radius:6px; padding:3px 8px }
svg g.row:hover rect.bg { fill:var(--line) }
.story table { border-collapse:collapse; font-size:14px; width:100% } .story td { padding:2px 12px 2px 0; vertical-align:top; border-bottom:1px solid var(--line) }
.story td:first-child { text-align:right; font-variant-numeric:tabular-nums; color:var(--soft); white-space:nowrap; width:80px } .story td:nth-child(2) { color:var(--soft); width:80px }
tr.failed td { color:var(--killed) !important; font-weight:600 } tr.fault td:nth-child(3), tr.turned td:nth-child(3) { color:var(--fault) }
footer { margin-top:24px; color:var(--soft); font-size:13px } footer p { margin:2px 0; overflow-wrap:anywhere }
@media print { body { background:#fff } .chart { border:0; padding:0 } main { max-width:none; padding:0 } }
"""
