/// How the report looks, and the little that moves in it. Neither holds a `<` or an `&`, so the page stays well-formed.
enum ReportStyle {
  static let sheet = """
    :root{--page:#fdfdfc;--ink:#15181e;--soft:#575e6a;--faint:#7b828d;--line:#e4e5e3;--wash:#f5f5f2;--grid:#ebebe8;
    --teacher:#3d434d;--alone:#b4530b;--distilled:#0b5fb3;--third:#0d7468;--fourth:#7a3fb0;--fifth:#a3285e;--sixth:#6d6408;
    --on:#fff}
    @media screen and (prefers-color-scheme:dark){:root{--page:#111418;--ink:#eceef2;--soft:#a6adb9;--faint:#848c98;
    --line:#2a2f37;--wash:#191d23;--grid:#232830;--teacher:#c3c9d3;--alone:#f2a35c;--distilled:#74b5ff;--third:#5ecfbe;
    --fourth:#c69bf2;--fifth:#f08cb8;--sixth:#d6c84e;--on:#0d1015}}
    @media screen and (prefers-color-scheme:dark){.middling text{fill:var(--on)}}
    *{box-sizing:border-box}
    html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-behavior:smooth}
    @media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
    body{margin:0;background:var(--page);color:var(--ink);font:400 16px/1.55 ui-sans-serif,system-ui,-apple-system,
    "Segoe UI",Roboto,"Helvetica Neue","Noto Sans","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
    .wrap{max-width:69rem;margin:0 auto;padding:0 clamp(1rem,4vw,2.5rem)}
    .skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;background:var(--page);padding:.5rem 1rem}
    a{color:var(--distilled)}:focus-visible{outline:2px solid var(--distilled);outline-offset:3px;border-radius:3px}
    h1,h2,h3,p,figure,dl,dd,ol,ul{margin:0;padding:0}
    ol,ul{list-style:none}
    h1{font-size:clamp(1.3rem,2.6vw,1.6rem);line-height:1.25;font-weight:650;letter-spacing:-.015em}
    h2{font-size:clamp(1.45rem,3vw,1.85rem);line-height:1.2;font-weight:650;letter-spacing:-.022em;
    overflow-wrap:anywhere}
    h2::first-letter{text-transform:uppercase}
    h3{font-size:1.02rem;font-weight:650;letter-spacing:-.008em}
    .lead{color:var(--soft);max-width:46rem;margin-top:.6rem}
    .hint{color:var(--soft);font-size:.875rem;max-width:46rem;margin:.3rem 0 1.1rem}
    .aside{color:var(--faint);font-weight:400;margin-left:.6em}
    section{padding:clamp(2.4rem,6vw,4rem) 0;border-top:1px solid var(--line)}
    section.verdict{border-top:0;padding-top:clamp(1.8rem,5vw,3.2rem)}
    .tone-teacher{--tone:var(--teacher)}.tone-alone{--tone:var(--alone)}.tone-distilled{--tone:var(--distilled)}
    .tone-third{--tone:var(--third)}.tone-fourth{--tone:var(--fourth)}.tone-fifth{--tone:var(--fifth)}
    .tone-sixth{--tone:var(--sixth)}
    .swatch{display:inline-block;width:.62em;height:.62em;border-radius:50%;background:var(--tone);margin-right:.6em}
    .masthead{padding:clamp(1.4rem,4vw,2.4rem) 0 0}
    .over{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.8125rem;color:var(--soft);margin-bottom:.35rem}
    nav{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;margin-top:1rem;padding-top:.8rem;border-top:1px solid var(--line);
    font-size:.875rem}
    nav a{color:var(--soft);text-decoration:none}nav a::first-letter{text-transform:uppercase}
    nav a:hover{color:var(--distilled);text-decoration:underline;text-underline-offset:.25em}
    .statement{font-size:clamp(1.25rem,3vw,1.6rem);font-weight:600;letter-spacing:-.018em;line-height:1.2}
    .gain{display:flex;flex-wrap:wrap;align-items:flex-end;gap:.2rem 1.2rem;margin-top:.4rem}
    .gain .figure{font-size:clamp(4.4rem,15vw,8.5rem);line-height:.95;font-weight:680;letter-spacing:-.055em;
    color:var(--distilled)}
    .gain .unit{padding-bottom:.55em;line-height:1.35}
    .gain .unit b{display:block;font-size:clamp(1.15rem,3vw,1.5rem);font-weight:600;letter-spacing:-.015em}
    .gain .unit span{color:var(--soft);font-size:.9rem}
    .answer{display:grid;grid-template-columns:minmax(0,1.15fr) minmax(0,1fr);gap:1rem 3.5rem;align-items:center;
    margin-top:1.8rem}
    .conclusion{font-size:1.0625rem;line-height:1.5;max-width:46rem}
    section:not(.verdict) .conclusion{margin-top:1.3rem;padding-left:1rem;border-left:3px solid var(--distilled)}
    svg{display:block;width:100%;overflow:visible}
    svg text{fill:var(--ink)}
    .ladder .rail,.classes .rail{stroke:var(--line);stroke-width:2}
    .ladder .way{stroke:var(--tone);stroke-width:4}
    .mark{fill:var(--tone);stroke:var(--page);stroke-width:2.5}
    .ladder .name{font-size:.8125rem;fill:var(--soft)}
    .ladder .number{font-size:1.0625rem;font-weight:650;fill:var(--tone);letter-spacing:-.01em}
    .facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.6rem,1fr));gap:1.4rem 2rem;margin-top:2.4rem;
    padding-top:1.4rem;border-top:1px solid var(--line)}
    .facts div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
    .facts dd{font-size:1.6rem;font-weight:620;letter-spacing:-.025em;line-height:1.2}
    .facts dt{font-size:.84rem;line-height:1.35;color:var(--soft);margin-top:.15rem}
    .intervals{margin-top:1.6rem}
    .interval{display:grid;grid-template-columns:minmax(9rem,14rem) minmax(0,1fr) 8.5rem;gap:0 1.5rem;
    align-items:center}
    .interval .what b,.interval .value b{display:block;font-weight:600;line-height:1.3}
    .interval .what b::first-letter{text-transform:uppercase}
    .interval .what span,.interval .value span{display:block;font-size:.8125rem;color:var(--soft);line-height:1.35}
    .interval .value b{color:var(--tone)}
    .interval .grid{stroke:var(--grid)}.interval .zero{stroke:var(--faint);stroke-width:1.5}
    .interval .whisker{stroke:var(--tone);stroke-width:2.5}
    .interval.ticks text{font-size:.75rem;fill:var(--soft)}.interval.ticks .value{font-size:.75rem;color:var(--soft)}
    .scroll{overflow-x:auto;margin-top:1.4rem;-webkit-overflow-scrolling:touch}
    table{border-collapse:collapse;width:100%;font-size:.9rem;line-height:1.35}
    th,td{padding:.62rem .75rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:baseline;
    font-weight:400}
    thead th{font-size:.78rem;color:var(--soft);padding-top:.3rem;padding-bottom:.45rem;white-space:nowrap}
    th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}
    .number{text-align:right;white-space:nowrap}
    .comparison tbody th,.comparison tr.primary td{font-weight:600}
    .comparison tbody th{position:sticky;left:0;background:var(--page);white-space:nowrap;padding-right:1.4rem}
    .comparison small{display:block;font-weight:400;font-size:.78rem;color:var(--soft);margin-left:1.22em;
    max-width:13rem;overflow:hidden;text-overflow:ellipsis}
    .comparison .swatch{width:.7em;height:.7em}
    .comparison tr.primary td:nth-child(3){color:var(--tone)}
    .block{margin-top:2.4rem}
    details.block{margin-top:0;border-top:1px solid var(--line)}details.block[open]{padding-bottom:1.8rem}
    .charts+details,.block+details.block{margin-top:2rem}details.block+details.block{margin-top:0}
    summary{cursor:pointer;padding:.85rem 0;list-style:none;display:flex;align-items:center;gap:.55rem}
    summary::-webkit-details-marker{display:none}
    summary::before{content:"";width:.42rem;height:.42rem;border:solid var(--faint);border-width:0 2px 2px 0;
    transform:rotate(-45deg);transition:transform .15s}
    details[open]>summary::before{transform:rotate(45deg)}
    summary:hover{color:var(--distilled)}
    .seeds summary{font-size:.875rem;color:var(--soft)}.seeds .scroll{margin-top:0}
    .legend{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;font-size:.875rem;margin-bottom:1rem}
    .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,18.5rem),1fr));gap:1.6rem 2rem}
    .charts .legend{margin:.5rem 0 0 2.6rem;font-size:.8125rem}
    .chart{max-width:30rem}
    figcaption{font-size:.875rem;font-weight:600;margin-bottom:.5rem}
    .heat figcaption::first-letter,.reliability figcaption::first-letter{text-transform:uppercase}
    .axis text{font-size:11px;fill:var(--soft)}.axis line{stroke:var(--grid)}
    .stroke{fill:none;stroke:var(--tone);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
    .stroke.tone-alone{stroke-dasharray:5 3.5}
    .band{fill:var(--tone);fill-opacity:.16}.dot{fill:var(--tone)}
    .notes rect,.catch{fill:transparent}.notes rect:hover{fill:var(--ink);fill-opacity:.07}
    .maps,.diagrams{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,18.5rem),1fr));gap:2rem 2.4rem}
    .lead+.maps,.lead+.scroll{margin-top:1.8rem}
    .heat{max-width:31rem}.diagrams{grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr))}
    .reliability{max-width:21rem}.reliability .axis text{font-size:9.5px}
    .names text{font-size:11px;fill:var(--soft)}
    .cell rect{fill:var(--tone)}.same rect{fill:var(--ink);fill-opacity:.07}
    .cell text,.same text{font-size:11px;text-anchor:middle}.strong text{fill:var(--on)}
    .same text{fill:var(--soft)}
    .cell:hover rect,.same:hover rect{stroke:var(--ink);stroke-width:1.5}
    .matrix{display:block;width:100%;max-width:26rem;image-rendering:pixelated;border:1px solid var(--line);
    border-radius:4px}
    .bar{fill:var(--tone);fill-opacity:.3}.ideal{stroke:var(--tone);stroke-width:2}
    .diagonal{stroke:var(--soft);stroke-dasharray:3 4}.counts rect{fill:var(--tone);fill-opacity:.55}
    .classes{max-width:54rem}.classes th[scope=row]{white-space:nowrap;max-width:14rem;overflow:hidden;
    text-overflow:ellipsis}
    .classes th,.classes td{padding-top:.28rem;padding-bottom:.28rem;vertical-align:middle}
    .classes .plot{width:60%}.classes thead .plot span{float:right}
    .classes .way{stroke:var(--distilled);stroke-width:3;stroke-opacity:.45}.classes .mark{stroke-width:1.5}
    .cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18.5rem),1fr));gap:1.2rem;
    margin-top:1.8rem}
    .card{background:var(--wash);border-radius:14px;padding:1.1rem 1.2rem 1.2rem}
    .card header{display:flex;gap:1rem;align-items:center;margin-bottom:.9rem}
    .card img{width:72px;height:72px;object-fit:contain;border-radius:8px;background:#000;flex:none}
    .pixels{image-rendering:pixelated}
    .card header p{font-size:.8125rem;color:var(--soft)}
    .card h3{font-size:1.0625rem;overflow-wrap:anywhere}
    .opinion+.opinion{margin-top:.75rem}
    .who{display:flex;align-items:baseline;font-size:.8125rem;font-weight:600;margin-bottom:.15rem}
    .judgement{margin-left:auto;font-weight:400;color:var(--soft)}.judgement.wrong{color:var(--alone)}
    .opinion li{display:grid;grid-template-columns:6.6rem minmax(0,1fr) 3.4rem;gap:.6rem;align-items:center;
    font-size:.8125rem;line-height:1.55;color:var(--soft)}
    .opinion .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
    .track{height:.5rem;border-radius:.25rem;background:var(--line);overflow:hidden}
    .track span{display:block;height:100%;background:var(--tone);opacity:.38}
    .opinion .true{color:var(--ink)}.opinion .true .name{font-weight:600}.true .track span{opacity:1}
    .recipe{position:relative;margin-top:1.4rem}
    pre{margin:0;background:var(--wash);border-radius:14px;padding:1.2rem 1.4rem;overflow:auto;max-height:34rem;
    font:400 .84rem/1.6 ui-monospace,SFMono-Regular,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
    pre b{font-weight:600}pre i{color:var(--soft);font-style:normal}
    button{position:absolute;top:.7rem;right:.7rem;font:inherit;font-size:.8125rem;color:var(--soft);
    background:var(--page);border:1px solid var(--line);border-radius:8px;padding:.25rem .7rem;cursor:pointer}
    button:hover{color:var(--distilled)}
    .manifest{margin-top:1.4rem}.manifest th{width:30%;color:var(--soft);white-space:nowrap;padding-right:2rem}
    .manifest td{font:400 .84rem/1.5 ui-monospace,SFMono-Regular,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
    overflow-wrap:anywhere}
    .words{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1rem 2.4rem;
    margin-top:1.4rem;font-size:.9rem}
    .words dt{font-weight:600}.words dd{color:var(--soft)}
    #tip{position:fixed;z-index:9;pointer-events:none;white-space:pre-line;background:var(--ink);color:var(--page);
    font-size:.8125rem;line-height:1.4;padding:.45rem .7rem;border-radius:8px;max-width:18rem;left:0;top:0}
    #tip[hidden]{display:none}
    @media (min-width:48rem){.pairs{grid-template-columns:repeat(2,minmax(0,1fr))}.pairs .chart{max-width:none}
    .pairs .axis text{font-size:8.5px}.pairs .names text,.pairs .cell text,.pairs .same text{font-size:9.5px}}
    @media (max-width:760px){
    .answer{grid-template-columns:minmax(0,1fr)}
    .interval{grid-template-columns:minmax(0,1fr) auto;padding-bottom:.6rem}
    .interval svg{grid-row:2;grid-column:1/-1}.interval .value{text-align:right}
    .interval.ticks{padding:0}.interval.ticks .what,.interval.ticks .value{display:none}
    .wide{display:none}.classes .plot{width:50%}
    th,td{padding-left:.5rem;padding-right:.5rem}
    .manifest th,.manifest td{display:block;width:auto;padding:.5rem 0 0;border:0}
    .manifest td{padding:0 0 .5rem;border-bottom:1px solid var(--line)}
    }
    @media print{
    body{font-size:10.5pt}nav,button,.skip,#tip{display:none}
    section{padding:1.4rem 0}.scroll{overflow:visible}pre{max-height:none;white-space:pre-wrap}
    figure,.card,tr,.interval{break-inside:avoid}h2,h3,.lead,.hint{break-after:avoid}
    .comparison{font-size:.72rem}.comparison tbody th{position:static}th,td{padding-left:.35rem;padding-right:.35rem}
    details::details-content{content-visibility:visible;block-size:auto}
    *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
    }
    """

  /// Notes at the pointer, and a button to copy the recipe. Without it, the browser shows the notes by itself.
  static let script = """
    (function () {
      "use strict";
      var tip = document.getElementById("tip");
      var held = null;
      function release() {
        if (held) { held.title.textContent = held.text; held = null; }
        tip.hidden = true;
      }
      function place(event) {
        var box = tip.getBoundingClientRect();
        var x = Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 8);
        var y = event.clientY - box.height - 14;
        if (0 > y) { y = event.clientY + 18; }
        tip.style.transform = "translate(" + Math.max(8, x) + "px," + y + "px)";
      }
      document.addEventListener("pointerover", function (event) {
        var target = event.target.closest ? event.target.closest("svg *") : null;
        var title = null;
        while (target) {
          title = target.querySelector(":scope > title");
          if (title || target.nodeName === "svg") { break; }
          target = target.parentElement;
        }
        if (title ? title.id : false) { title = null; }
        if (held ? held.title === title : false) { return; }
        release();
        if (!title) { return; }
        held = { title: title, text: title.textContent };
        tip.textContent = held.text;
        title.textContent = "";
        tip.hidden = false;
        place(event);
      });
      document.addEventListener("pointermove", function (event) { if (held) { place(event); } });
      document.addEventListener("pointerleave", release);
      window.addEventListener("scroll", release, { passive: true });
      var recipe = document.getElementById("recipe-text");
      if (recipe ? navigator.clipboard : false) {
        var button = document.createElement("button");
        button.type = "button";
        button.textContent = "Copy";
        button.addEventListener("click", function () {
          navigator.clipboard.writeText(recipe.textContent).then(
            function () { button.textContent = "Copied"; }, function () { button.textContent = "Not allowed"; });
        });
        recipe.closest(".recipe").appendChild(button);
      }
      document.documentElement.setAttribute("data-ready", "yes");
    })();
    """
}
