"""A page that shows a program: time by unit with zoom, memory over time, streams, and layers with what bounds them.

One file without links to others; the drawing is done in the page from numbers gathered here.
"""

from __future__ import annotations

import html
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import Op, Program, Queues
from elsewhere.compiler.targets.tsp.report.account import Report

Array = NDArray[Any]
BINS = 1200
LANES = (
    "memory west",
    "memory east",
    "switch west",
    "switch east",
    "vector",
    "matrix 0",
    "matrix 1",
    "matrix 2",
    "matrix 3",
)


def layers(program: Program) -> list[dict[str, Any]]:
    """For each place of the model: when it runs, how busy the planes are, the bounds, and what the gap is made of."""
    code, machine = program.code, program.machine
    work = program.facts.get("work", {})
    found = []
    for number, name in enumerate(program.symbols):
        mine = code[code["symbol"] == number]
        if not len(mine):
            continue
        start, end = int(mine["issue"].min()), int((mine["issue"] + mine["count"]).max())
        rows = {op: int(mine[mine["op"] == op]["count"].sum()) for op in Op}
        planes = rows[Op.ACTIVATE]
        bounds = {
            "ideal": work.get(name, 0.0) / (machine.planes * machine.lanes**2),
            "padded tiles": planes / machine.planes,
            "memory": (rows[Op.READ] + rows[Op.WRITE]) / (2 * machine.slices),
            "vector": rows[Op.ALU] / machine.alus,
            "switch": (rows[Op.SHIFT] + rows[Op.PERMUTE] + rows[Op.TRANSPOSE])
            / (2 * (machine.shifters + machine.permutors + machine.transposers)),
        }
        reason = max(("padded tiles", "memory", "vector", "switch"), key=lambda k: bounds[k])
        if bounds[reason] < 0.5 * (end - start):
            reason = "waiting: rows, ports or streams that others hold, and the way through the chip"
        found.append(
            {
                "name": name or "inputs",
                "start": start,
                "end": end,
                "instructions": len(mine),
                **bounds,
                "reason": reason,
            }
        )
    return sorted(found, key=lambda layer: layer["start"])


def activity(program: Program) -> dict[str, list[float]]:
    """Share of each bin of time in which each group of units is busy, 0 to 1."""
    code, machine = program.code, program.machine
    queues = Queues(machine)
    width = max(1, -(-program.cycles // BINS))
    queue = code["queue"].astype(int)
    half, first = machine.slices_per_hemisphere, machine.slices + machine.alus
    switch, middle = queues.switch(0, "shift", 0), queues.switch(1, "shift", 0)
    groups: dict[str, tuple[Array, int]] = {
        "memory west": (queue < half, 2 * half),
        "memory east": ((queue >= half) & (queue < machine.slices), 2 * half),
        "switch west": ((queue >= switch) & (queue < middle), middle - switch),
        "switch east": (queue >= middle, middle - switch),
        "vector": ((queue >= machine.slices) & (queue < first), machine.alus),
    }
    for plane in range(machine.planes):
        groups[f"matrix {plane}"] = (queue == first + 3 * plane + 1, 1)
    return {name: _share(code[mine], width, size) for name, (mine, size) in groups.items()}


def _share(code: Array, width: int, size: int) -> list[float]:
    """Busy cycles of each bin, exactly, from the starts and ends of bursts."""
    bins = np.zeros(BINS + 2)
    for edge, sign in ((code["issue"], 1.0), (code["issue"] + code["count"], -1.0)):
        place, inside = np.divmod(edge.astype(np.int64), width)
        place = np.minimum(place, BINS)
        np.add.at(bins, place, sign * (width - inside))
        np.add.at(bins, place + 1, sign * inside)
    return [round(float(x), 4) for x in np.clip(np.cumsum(bins)[:BINS] / width / size, 0, 1)]


def memory(program: Program) -> list[int]:
    """Rows that hold something that is still needed, for each bin of time."""
    code = program.code
    width = max(1, -(-program.cycles // BINS))
    change = np.zeros(BINS + 2)
    mine = code[code["strip"] >= 0]
    order = np.argsort(mine["strip"], kind="stable")
    _, starts = np.unique(mine["strip"][order], return_index=True)
    ends = np.r_[starts[1:], len(order)]
    for a, b in zip(starts, ends, strict=True):
        part = mine[order[a:b]]
        rows = int((part["row"] + part["row_step"] * (part["count"] - 1)).max()) + 1
        first = int(part["issue"].min()) if (part["op"] == Op.WRITE).any() else 0
        change[min(first // width, BINS)] += rows
        change[min(int((part["issue"] + part["count"]).max()) // width + 1, BINS)] -= rows
    return [int(x) for x in np.cumsum(change)[:BINS]]


def streams(program: Program) -> list[float]:
    """Streams that instructions put values on, on average over each bin of time."""
    code = program.code
    width = max(1, -(-program.cycles // BINS))
    total = np.zeros(BINS)
    for slot in range(2):
        mine = code[code["outs"]["stream"][:, slot] >= 0]
        wide = np.array([1, 2, 4, 4])[mine["outs"]["dtype"][:, slot]]
        for bytes_ in (1, 2, 4):
            total += bytes_ * np.array(_share(mine[wide == bytes_], width, 1 << 10)) * (1 << 10)
    return [round(float(x), 2) for x in total]


def page(report: Report, title: str) -> str:
    """The whole page."""
    program = report.program
    data = {
        "cycles": program.cycles,
        "clock": program.machine.clock_hz,
        "activity": activity(program),
        "memory": memory(program),
        "rows": program.machine.slices * program.machine.rows_per_slice,
        "streams": streams(program),
        "most": 2 * program.machine.streams,
        "layers": layers(program),
    }
    text = json.dumps(data).replace("</", "<\\/")
    return _PAGE.replace("TITLE", html.escape(title)).replace("DATA", text)


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>TITLE on a tensor streaming processor</title>
<meta name="viewport" content="width=device-width"><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1240px;padding:0 1rem;
color:#1b2733;background:#fbfaf7}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}canvas{width:100%;display:block;background:#fff;
border:1px solid #d9d5cb;border-radius:4px;cursor:crosshair}table{border-collapse:collapse;width:100%;font-size:13px}
td,th{padding:.25rem .5rem;border-bottom:1px solid #e6e2d8;text-align:right}td:first-child,th:first-child,td:last-child,
th:last-child{text-align:left}p{max-width:70ch;margin:.3rem 0}.bar{height:8px;background:#0a7d6c;border-radius:2px}
</style><h1>TITLE</h1><p id="sum"></p>
<h2>Time by unit</h2><p>Darker is busier. Drag over a stretch to look closer; double-click for all of it.</p>
<canvas id="units" height="300"></canvas><h2>Memory in use</h2><canvas id="memory" height="120"></canvas>
<h2>Streams in flight</h2><canvas id="streams" height="120"></canvas>
<h2>Layers</h2><p>Cycles that each bound alone would take, beside what the layer took. Layers overlap in time.</p>
<table id="layers"><thead><tr><th>layer<th>from<th>cycles<th>ideal<th>whole tiles<th>memory<th>vector<th>switch
<th>what holds it up</tr></thead><tbody></tbody></table><script>const d=DATA;
const bins=d.memory.length,width=Math.max(1,Math.ceil(d.cycles/bins));let from=0,to=Math.ceil(d.cycles/width);
document.getElementById('sum').textContent=d.cycles.toLocaleString('en')+' cycles, '+
(d.cycles/d.clock*1e6).toFixed(1)+' µs, every one of them decided before the first.';
function fit(c){const r=devicePixelRatio||1;c.width=c.clientWidth*r;
const h=+c.dataset.h||(c.dataset.h=c.getAttribute('height'));
c.height=h*r;c.style.height=h+'px';const g=c.getContext('2d');g.scale(r,r);return[g,c.clientWidth,+h]}
const left=100;function x(i,w){return left+(i-from)/(to-from)*(w-left-8)}
function axis(g,w,h){g.fillStyle='#667';g.textAlign='center';for(let k=0;k<=6;k++){const i=from+(to-from)*k/6;
g.fillText(Math.round(i*width).toLocaleString('en'),Math.min(w-30,x(i,w)),h-4)}}
function units(){const[g,w,h]=fit(document.getElementById('units'));const names=Object.keys(d.activity);
const step=(h-20)/names.length;g.font='12px system-ui';names.forEach((n,r)=>{g.fillStyle='#1b2733';g.textAlign='right';
g.fillText(n,left-8,r*step+step/2+4);for(let i=from;i<to;i++){const v=d.activity[n][i];if(v>0){
g.fillStyle='rgba(10,125,108,'+(0.12+0.88*Math.sqrt(v))+')';g.fillRect(x(i,w),r*step+2,Math.max(1,x(i+1,w)-x(i,w)),step-4)}}});
axis(g,w,h)}
function line(id,values,most){const[g,w,h]=fit(document.getElementById(id));const y=v=>h-20-(h-26)*v/most;
g.font='12px system-ui';g.fillStyle='#667';g.textAlign='right';g.fillText(most.toLocaleString('en'),left-8,14);
g.fillText('0',left-8,h-20);
g.fillStyle='rgba(30,90,160,.25)';g.strokeStyle='#1e5aa0';g.beginPath();g.moveTo(x(from,w),h-20);
for(let i=from;i<to;i++){g.lineTo(x(i,w),y(values[i]));g.lineTo(x(i+1,w),y(values[i]))}
g.lineTo(x(to,w),h-20);g.fill();g.stroke();axis(g,w,h)}
function draw(){units();line('memory',d.memory,d.rows);line('streams',d.streams,d.most)}
const body=document.querySelector('#layers tbody');for(const l of d.layers){const r=body.insertRow();
for(const v of[l.name,l.start,l.end-l.start,l.ideal,l['padded tiles'],l.memory,l.vector,l.switch,l.reason]){
r.insertCell().textContent=typeof v==='number'?Math.round(v).toLocaleString('en'):v}}
const c=document.getElementById('units');let down=null;
const at=e=>from+(e.offsetX-left)/(c.clientWidth-left-8)*(to-from);
c.onpointerdown=e=>{down=at(e)};c.onpointerup=e=>{if(down===null)return;
const up=at(e),a=Math.max(0,Math.floor(Math.min(down,up))),
b=Math.min(bins,Math.ceil(Math.max(down,up)));down=null;if(b-a>3){from=a;to=b;draw()}};
c.ondblclick=()=>{from=0;to=Math.ceil(d.cycles/width);draw()};addEventListener('resize',draw);draw();</script></html>
"""
