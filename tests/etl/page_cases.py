"""Pages in the shapes that real sites have, each with what its text must and must not have. Written for these tests.

Each stands in a site's frame with navigation, scripts and a footer, and has two paragraphs of prose of its own.
"""

from typing import NamedTuple

WORDS = "The lighthouse keeper wrote down every ship that passed, its flag and its hour, for more than thirty winters."
MORE = "Nobody read the books until the tower was sold, and then a school teacher found them under the stairs."


class Case(NamedTuple):
    name: str
    source: str | bytes  # HTML, or Markdown where the name ends in .md
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()


def page(body: str, head: str = "") -> str:
    return (
        f"<!DOCTYPE html><html lang=en><head><title>A title</title>{head}<style>.x{{color:red}}</style>"
        "<script>var tracking = 'GA-1234';</script></head><body class=site>"
        "<nav><ul><li><a href=/>Homelink</a></li><li><a href=/about>Aboutlink</a></li></ul></nav>"
        f"<main><article><h1>Heading of it</h1><p>{WORDS}</p>{body}<p>{MORE}</p></article></main>"
        "<footer><p>Footerline 2026</p></footer><script src=x.js></script></body></html>"
    )


def html(name: str, body: str, *has: str, lacks: tuple[str, ...] = (), head: str = "") -> Case:
    return Case(name, page(body, head), has, (*lacks, "Homelink", "Footerline", "tracking"))


def note(name: str, body: str, *has: str, lacks: tuple[str, ...] = ()) -> Case:
    return Case(f"{name}.md", f"# Heading of it\n\n{WORDS}\n\n{body}\n\n{MORE}\n", has, lacks)


def katex(source: str, mathml: str, shown: str) -> str:
    return (
        f'<span class="katex"><span class="katex-mathml"><math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow>'
        f'{mathml}</mrow><annotation encoding="application/x-tex">{source}</annotation></semantics></math></span>'
        f'<span class="katex-html" aria-hidden="true"><span class="base">{shown}</span></span></span>'
    )


def wikipedia(source: str, mathml: str) -> str:
    return (
        f'<span class="mwe-math-element"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" style="display: none;">'
        f'<math alttext="{{\\displaystyle {source}}}"><semantics><mrow>{mathml}</mrow>'
        f'<annotation encoding="application/x-tex">{{\\displaystyle {source}}}</annotation></semantics></math></span>'
        f'<img src="x.svg" class="mwe-math-fallback-image-inline" aria-hidden="true" alt="{{\\displaystyle {source}}}"></span>'
    )


SQUARE = "<mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup>"

CASES = [
    # Numbers
    html("power of ten", "<p>About 10<sup>6</sup> ships in 30 years.</p>", "10^6 ships", lacks=("106",)),
    html("negative power", "<p>A mass of 9.1 × 10<sup>−31</sup> kg.</p>", "10^−31 kg", lacks=("1031", "10−31")),
    html("power within", "<p>(2<sup>10</sup>5) is no number.</p>", "2^{10}5", lacks=("2105",)),
    html("variable as power", "<p>It has 2<sup>n</sup> leaves and n<sup>2</sup> edges.</p>", "2^n leaves", "n^2 edges"),
    html("long power", "<p>It is e<sup>−x/2</sup> here.</p>", "e^{−x/2} here"),
    html(
        "ordinals",
        "<p>The 1<sup>st</sup>, 2<sup>nd</sup>, M<sup>me</sup> and 3<sup>e</sup>.</p>",
        "1st, 2nd, Mme and 3e.",
    ),
    html("trade mark", "<p>Lamp<sup>TM</sup> and Oil<sup>®</sup> sell.</p>", "LampTM and Oil® sell"),
    html(
        "footnote after a year",
        '<p>It was sold in 1990<sup><a href="#fn3">3</a></sup> at last.</p>',
        "in 1990[3] at",
        lacks=("19903",),
    ),
    html("bracketed notes", '<p>It is 40 m high.<sup id=c><a href="#n">[12]</a></sup> So.</p>', "40 m high.[12] So"),
    html(
        "chemistry",
        "<p>H<sub>2</sub>O, CO<sub>2</sub> and C<sub>6</sub>H<sub>12</sub>O<sub>6</sub>.</p>",
        "H2O, CO2 and C6H12O6.",
    ),
    html("ions", "<p>SO<sub>4</sub><sup>2−</sup> in water.</p>", "SO4", "2−", lacks=("SO42",)),
    html("logarithm", "<p>Here log<sub>2</sub>8 is 3.</p>", "log_{2}8 is 3", lacks=("log28",)),
    html("indices", "<p>Let x<sub>i</sub> and x<sub>i+1</sub> be given.</p>", "x_i and x_{i+1} be"),
    html("index and power", "<p>Let x<sub>1</sub><sup>2</sup> be.</p>", "^2 be", lacks=("x12", "x^12")),
    html("units", "<p>An area of 50 m<sup>2</sup>, 3 m<sup>3</sup>.</p>", "50 m^2, 3 m^3"),
    html(
        "table of numbers",
        "<table><thead><tr><th>Year</th><th>Ships</th></tr></thead><tbody><tr><td>1901</td><td>1 204</td></tr>"
        "<tr><td>1902</td><td>998</td></tr></tbody></table>",
        "Year\tShips\n1901\t1 204\n1902\t998",
        lacks=("19011", "1 2041902"),
    ),
    html("numbered list", "<ol start=3><li>Light</li><li>Oil</li></ol>", "3. Light\n4. Oil"),
    html("lettered list", "<ol type=a><li>Light<li>Oil</ol>", "a. Light\nb. Oil"),
    html(
        "prices", "<p>Was <del>$12.99</del> <ins>$9.50</ins>; 1&nbsp;000&nbsp;€.</p>", "$12.99", "$9.50", "000\u00a0€"
    ),
    html("fraction entities", "<p>½ cup, &frac34; l, 5&times;5, &minus;3&deg;</p>", "½ cup, ¾ l, 5×5, −3°"),
    html("dates and times", "<p><time datetime=2020-01-02>2 January 2020</time>, 10:05</p>", "2 January 2020, 10:05"),
    # Formulas
    html(
        "katex",
        f"<p>So {katex('E = mc^2', SQUARE, 'E=mc2')} holds.</p>",
        "So $E = mc^2$ holds.",
        lacks=("E=mc2", "mc2"),
    ),
    html(
        "katex display",
        f'<p><span class="katex-display">{katex(chr(92) + "frac{a}{b}", "<mfrac><mi>a</mi><mi>b</mi></mfrac>", "ab")}</span></p>',
        "\\frac{a}{b}",
        lacks=("ab\n",),
    ),
    html(
        "wikipedia",
        f"<p>So {wikipedia('E=mc^{2}', SQUARE)} holds.</p>",
        "So $E=mc^{2}$ holds.",
        lacks=("displaystyle",),
    ),
    html("mathml only", f"<p>So <math>{SQUARE}</math> holds.</p>", "So E = mc^2 holds."),
    html(
        "mathml fraction and root",
        "<p>x is <math><mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><mn>2</mn></mfrac><mo>,</mo>"
        "<msqrt><mn>10</mn></msqrt></math>.</p>",
        "x is (a + 1)/2,√(10).",
    ),
    html(
        "mathjax 2",
        '<p>So <span class="MathJax_Preview">x2</span><span class="MathJax" id=M><nobr>x2</nobr></span>'
        '<script type="math/tex">x^2 < 3</script> holds.</p>',
        "So $x^2 < 3$ holds.",
        lacks=("x2",),
    ),
    html(
        "mathjax 3",
        '<p>So <mjx-container><mjx-math aria-hidden="true"><mjx-mi>x</mjx-mi></mjx-math><mjx-assistive-mml>'
        "<math><msup><mi>x</mi><mn>2</mn></msup></math></mjx-assistive-mml></mjx-container> holds.</p>",
        "x^2",
        lacks=("xx",),
    ),
    html(
        "mathjax source",
        "<p>So $f^*(x) = g^*(x)$ and \\(a_1 < b_2\\) hold.</p>",
        "$f^*(x) = g^*(x)$ and \\(a_1 < b_2\\) hold",
    ),
    html("wordpress formula", '<p>So <img src=x.png alt="x^2+1" class="latex"> holds.</p>', "So $x^2+1$ holds."),
    html(
        "display formula of several lines",
        "<p>\\begin{align} a &amp;= b \\\\ c &amp;= d \\end{align}</p>",
        "\\begin{align} a &= b \\\\ c &= d \\end{align}",
    ),
    html(
        "matrix in mathml",
        "<p><math><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable></math></p>",
        "1, 2; 3, 4",
    ),
    # Code
    html(
        "code block",
        "<pre><code>if a &lt; 10:\n    b = a ** 2\n\treturn b</code></pre>",
        "if a < 10:\n    b = a ** 2\n\treturn b",
    ),
    html(
        "highlighted code",
        "<div class=highlight><pre><span></span><span class=k>def</span> <span class=nf>f</span><span class=p>(</span>x)\n"
        "    <span class=k>return</span> x</pre></div>",
        "def f(x)\n    return x",
    ),
    html("inline code", "<p>Call <code>f(*args, **kw)</code> twice.</p>", "Call f(*args, **kw) twice."),
    html("keyboard", "<p>Press <kbd>Ctrl</kbd>+<kbd>C</kbd>.</p>", "Press Ctrl+C."),
    # What is not shown
    html("hidden by attribute", "<div hidden>Secretword</div>", lacks=("Secretword",)),
    html("hidden by style", '<div style="color:red; display: none">Secretword</div>', lacks=("Secretword",)),
    html("invisible", '<span style="visibility:hidden">Secretword</span>', lacks=("Secretword",)),
    html("decoration", '<h2>Oil <a aria-hidden="true" href="#oil">¶</a></h2>', "Oil\n", lacks=("¶",)),
    html("closed dialog", "<dialog><p>Accept cookies</p></dialog>", lacks=("cookies",)),
    html("template", "<template><p>Cardtemplate</p></template>", lacks=("Cardtemplate",)),
    html("noscript", "<noscript>Enable JavaScript</noscript>", lacks=("Enable",)),
    html("svg", "<svg><title>Icontitle</title><text>Axislabel</text></svg>", lacks=("Icontitle", "Axislabel")),
    html(
        "form",
        "<form><label>Name</label><select><option>Optionone</select><button>Go now</button></form>",
        lacks=("Optionone", "Go now"),
    ),
    html("comment", "<!-- Secretword --><p>Shown</p>", "Shown", lacks=("Secretword",)),
    html("details", "<details><summary>More on oil</summary><p>It burns.</p></details>", "More on oil\n\nIt burns."),
    Case(
        "page shown by script",
        f'<html><body><div id=app style="display:none"><h1>Head</h1><p>{WORDS}</p></div></body></html>',
        ("Head", WORDS),
    ),
    # Words and lines
    html("line breaks", "<p>One<br>two<br/>three</p>", "One\ntwo\nthree"),
    html("inline words", "<p>un<b>believ</b>able <i>it</i>self</p>", "unbelievable itself"),
    html("blocks side by side", "<div>one</div><div>two</div><section>three</section>", "one\n\ntwo\n\nthree"),
    html("quotation", "<blockquote><p>To be.</p><footer>Hamlet</footer></blockquote>", "To be.\n\nHamlet"),
    # Charsets
    Case(
        "windows-1251",
        page("<p>Маяк стоял на скале.</p>", "<meta charset=windows-1251>").encode("cp1251"),
        ("Маяк стоял на скале.",),
    ),
    Case(
        "shift_jis",
        page(
            "<p>灯台は岩の上に立っていた。</p>",
            '<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">',
        ).encode("cp932"),
        ("灯台は岩の上に立っていた。",),
    ),
    Case("gb2312", page("<p>灯塔立在岩石上。</p>", "<meta charset='gb2312'>").encode("gb18030"), ("灯塔立在岩石上。",)),
    Case(
        "latin-1",
        page("<p>Café “noir” – 5 €</p>", "<meta charset=iso-8859-1>").encode("cp1252"),
        ("Café “noir” – 5 €",),
    ),
    Case("utf-8 that says latin-1", page("<p>Café noir</p>", "<meta charset=iso-8859-1>").encode(), ("Café noir",)),
    Case("xhtml", ('<?xml version="1.0" encoding="koi8-r"?>' + page("<p>Маяк</p>")).encode("koi8-r"), ("Маяк",)),
    # Markdown
    note("stars in formulas", "So $f^*(x) = g^*(x)$ and $h^*$.", "So $f^*(x) = g^*(x)$ and $h^*$."),
    note("formulas with blanks", "So $ a_1 * b * c_2 $ holds.", "So $ a_1 * b * c_2 $ holds."),
    note(
        "display formula",
        "$$\n\\begin{aligned}\na &= b \\\\\n- c &= d_1 * e * f\n\\end{aligned}\n$$",
        "a &= b \\\\\n- c &= d_1 * e * f",
    ),
    note(
        "brackets",
        "So \\(x_1^*, x_2^*\\) and\n\n\\[\n= y \\\\\n- z\n\\]\n\nhold.",
        "\\(x_1^*, x_2^*\\)",
        "= y \\\\\n- z",
    ),
    note("doubled brackets", "So \\\\(x_1 * y * z\\\\) and \\\\[a^*_i\\\\] hold.", "\\(x_1 * y * z\\)", "\\[a^*_i\\]"),
    note("environment", "\\begin{align}\na_1 &= b * c * d \\\\\n\\end{align}", "a_1 &= b * c * d \\\\\n"),
    note("formula with angle brackets", "If $a<b$ and $c>d$ then.", "If $a<b$ and $c>d$ then."),
    note("prices", "It costs $5, or *about* $6 today.", "It costs $5, or about $6 today."),
    note("products", "So 2*3*4 is 24, and *this* is so.", "So 2*3*4 is 24, and this is so."),
    note(
        "list that begins at a year",
        "1990. A great year.\n1991. A better one.",
        "1990. A great year.\n1991. A better one.",
    ),
    note("code in markdown", "```python\nx = a*b*c  # $y$\n```\n\nand `*p++`.", "x = a*b*c  # $y$", "and *p++."),
    note("table", "| Year | n |\n|---|--:|\n| 1901 | 5 |", "Year\tn\n1901\t5", lacks=("|", "--")),
    note("links", "See [the book](http://x.org/a_b_c) and ![a ship](s.png).", "See the book and", lacks=("http", "](")),
    note("html in markdown", "10<sup>6</sup> ships<br>came.", "10^6 ships\ncame."),
    Case(
        "front matter.md",
        f"---\ntitle: Secretword\ndate: 2020-01-01\n---\n\n# Head\n\n{WORDS}\n\n---\n\nAfter the rule\n",
        ("Head", WORDS, "After the rule"),
        ("Secretword", "2020-01-01"),
    ),
    Case("front matter of hugo.md", f'+++\ntitle = "Secretword"\n+++\n{WORDS}\n', (WORDS,), ("Secretword", "+++")),
    Case("rule first.md", f"---\n\n{WORDS}\n", (WORDS,)),
]
