// The page's one style sheet: light and dark, screens of any width, paper.

import { SIDES } from "../report.ts";
import { COLOURS } from "./look.ts";

const colours = (scheme: "light" | "dark"): string => SIDES.map((side) => `--${side}:${COLOURS[side][scheme]}`).join(";");

const LIGHT = `--ink:#1d2126;--soft:#5a636e;--page:#f5f6f8;--card:#fff;--edge:#d9dde3;--grid:#e6e9ed;--axis:#9aa3ad;
--good:#0a6b3d;--bad:#a8321f;--notice:#fff6da;--notice-edge:#e0c25a;--code:#f0f2f5;--link:#0a58a8;${colours("light")}`;
const DARK = `--ink:#e4e7eb;--soft:#9fa9b5;--page:#14171b;--card:#1c2026;--edge:#343b44;--grid:#2c323a;--axis:#6b7683;
--good:#59d093;--bad:#ff8f7a;--notice:#332c14;--notice-edge:#7d6a25;--code:#252a31;--link:#7db8ff;${colours("dark")}`;

export const STYLE = `
:root{color-scheme:light dark;${LIGHT}}
@media screen and (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
overflow-wrap:break-word}
main{max-width:860px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.25rem;margin:44px 0 12px}
h3{font-size:1.05rem;margin:0}
p{margin:8px 0}
a{color:var(--link)}
.soft{color:var(--soft)}
small,.small{font-size:.85rem}
.card{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:16px 18px;margin:16px 0;min-width:0}
.notice ul{margin:0}
.notice{background:var(--notice);border:1px solid var(--notice-edge);border-radius:8px;padding:8px 12px;margin:12px 0;font-size:.9rem}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(210px,44%),1fr));gap:8px 20px;margin:0}
.facts div{min-width:0}
.facts dt{color:var(--soft);font-size:.8rem}
.facts dd{margin:0;overflow-wrap:anywhere}
.heading{display:flex;flex-wrap:wrap;gap:2px 12px;align-items:baseline;justify-content:space-between}
.chart{margin:8px 0}
.chart svg{display:block;width:100%;height:auto}
.chart text{font-family:inherit}
.narrow{display:none}
.scroll{overflow-x:auto}
.scroll th:first-child{position:sticky;left:0;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;border-bottom:1px solid var(--edge);vertical-align:baseline}
th:first-child,td:first-child,.left{text-align:left}
thead th{font-weight:600;vertical-align:bottom}
tbody th{font-weight:400}
td small{color:var(--soft);display:block;white-space:nowrap}
.key th,.key td{padding:3px 10px;vertical-align:top}
.key thead th{vertical-align:bottom}
.key{margin-top:4px}
.series{display:flex;gap:10px;align-items:flex-start}
.sample{flex:none;width:44px;height:16px;margin-top:3px}
.sample svg{display:block}
.met{color:var(--good);font-weight:600;white-space:nowrap}
.unmet{color:var(--bad);font-weight:600;white-space:nowrap}
details{margin-top:10px}
summary{cursor:pointer;color:var(--link);font-size:.9rem}
pre{background:var(--code);border-radius:6px;padding:8px 10px;margin:4px 0 10px;white-space:pre-wrap;overflow-wrap:anywhere;
font:.8rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
ul{margin:8px 0;padding-left:20px}
nav ul{columns:2 260px;list-style:none;padding:0;margin:0}
nav li{break-inside:avoid;padding:1px 0}
@media (max-width:640px){
main{padding:16px 10px 48px}
.card{padding:12px 10px}
.wide{display:none}
.narrow{display:block;max-width:480px;margin-inline:auto}
th,td{padding:4px 6px}
.stacked thead,.stacked .none{display:none}
.stacked tr,.stacked th,.stacked td{display:block;text-align:left;border:0;padding:1px 4px}
.stacked tr{border-bottom:1px solid var(--edge);padding:5px 0}
.key.stacked td{padding-left:58px}
.stacked td[data-label]::before{content:attr(data-label) ": ";color:var(--soft)}
}
@media print{
body{background:#fff;font-size:11pt}
main{max-width:none;padding:0}
nav,summary{display:none}
.card{border-color:#bbb}
.heading,.notice,.chart,.key,tr,li,pre{break-inside:avoid}
.heading,summary+*,h2{break-after:avoid}
thead{display:table-header-group}
details::details-content{content-visibility:visible;block-size:auto}
.scroll{overflow:visible}
}`;
