"""Documents hold: links lead somewhere, commands parse, Python compiles, studies are valid, the site shows them all.

Whether examples *run* is tested where they are about: `tests/platform/api` and `tests/platform/cli/test_examples.py`.
"""

import re
import tomllib
from pathlib import Path

import pytest
import torch
import typer
import yaml
from documents import (
    ROOT,
    blocks,
    headings,
    prose,
    repository_anchor,
    shell_commands,
    site_anchor,
    site_module,
)

import nmlab
from nmlab.platform.cli.app import app
from nmlab.platform.cli.verbs import VERBS, load
from nmlab.search_spaces import loader
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import check_mask, topn

pages = site_module("pages")
PAGES = pages.documents(ROOT)
DOCUMENTS = sorted(PAGES)
SHELL = ("bash", "sh", "console", "")
TOLD_OF_THE_PAST = {"docs/LOG.md", "CHANGELOG.md"}
"""Documents that speak of commands as they were."""


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def leads_nowhere(document: str, link: str) -> bool:
    """Whether a link leads to no file, or to no heading of it, in the repository or in the site."""
    path, _, anchor = link.partition("#")
    target = (ROOT / document).parent / path if path else ROOT / document
    if not target.is_file():
        return True
    if not anchor:
        return False
    titles = headings(target.read_text(encoding="utf-8"))
    anchors = [set(map(of, titles)) for of in (site_anchor, repository_anchor)]
    return any(anchor not in known for known in anchors)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document):
    links = [link for link in pages.links(text_of(document)) if "://" not in link]
    assert [link for link in links if leads_nowhere(document, link)] == []


@pytest.mark.parametrize("link", ["nowhere.md", "guide.md#no-such-heading", "../examples/kuberay", "#no-such-heading"])
def test_a_link_that_leads_nowhere_is_found(link):
    assert leads_nowhere("docs/architecture.md", link)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere_in_the_site_too(document):
    shown = pages.page(document, root=ROOT, pages=PAGES)
    folder = Path(PAGES[document]).parent
    places = {*PAGES.values(), *map(pages.copied, shown.files), "reference/command-line.md"}
    links = [link.partition("#")[0] for link in pages.links(shown.text) if "://" not in link]
    assert [link for link in links if link and _normal(folder / link) not in places] == []


def _normal(path: Path) -> str:
    return path.resolve().relative_to(Path.cwd()).as_posix()


def test_a_link_to_a_file_that_is_no_document_leads_to_a_copy(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a.sh").write_text("true\n")
    (tmp_path / "docs" / "a.md").write_text("[b](../README.md#top), [script](../examples/a.sh)\n\n```\n[x](y)\n```\n")
    (tmp_path / "README.md").write_text("[a](docs/a.md) [web](https://example.org) [here](#top)")
    found = pages.documents(tmp_path)
    assert found == {"README.md": "index.md", "docs/a.md": "a.md"}
    page = pages.page("docs/a.md", root=tmp_path, pages=found)
    assert page.text == "[b](index.md#top), [script](files/examples/a.sh)\n\n```\n[x](y)\n```\n"
    assert page.files == ("examples/a.sh",)
    home = pages.page("README.md", root=tmp_path, pages=found)
    assert home.text == "[a](a.md) [web](https://example.org) [here](#top)"
    (tmp_path / "README.md").write_text("[a](docs/b.md)")
    with pytest.raises(ValueError, match=r"README.md: the link docs/b.md leads to no file"):
        pages.page("README.md", root=tmp_path, pages=found)


def test_the_navigation_names_every_page_and_no_other():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = _leaves(navigation)
    assert len(named) == len(set(named))
    written = {page for page in PAGES.values() if not page.startswith("code/")}
    assert set(named) == {*written, "reference/command-line.md"}


def test_readmes_of_the_code_enter_the_navigation_by_themselves():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    site_module("navigation").on_config(config)
    named = _leaves(config["nav"])
    assert sorted(named) == sorted([*PAGES.values(), "reference/command-line.md"])
    assert {"platform/dispatch/": "code/platform-dispatch.md"} in site_module("navigation").code_pages(ROOT)


def _leaves(entry: object) -> list[str]:
    match entry:
        case str():
            return [entry]
        case dict():
            return [leaf for value in entry.values() for leaf in _leaves(value)]
        case list():
            return [leaf for value in entry for leaf in _leaves(value)]
    raise TypeError(f"{entry!r} in nav, expected a page or a list of pages")


GROUP = typer.main.get_command(app)
COMMANDS = {name: load(name) for name in VERBS}
KINDS = {name: site_module("command_line").types_of(name) for name in VERBS}


def problem(words: list[str], *, whole: bool) -> str | None:
    """Return what is wrong with the words after ``nmlab``, or None; a part of a command may lack arguments."""
    if not words or words[0].startswith("-"):
        known = {name for option in GROUP.params for name in option.opts} | {"--help", "--install-completion"}
        return None if set(words) <= known else f"unknown option among {words}"
    if words[0] not in COMMANDS:
        return f"unknown command {words[0]}"
    command = COMMANDS[words[0]]
    context = command.make_context(words[0], [], resilient_parsing=True)
    context.resilient_parsing = False  # which made the context without arguments
    try:
        values, rest, _ = command.make_parser(context).parse_args(words[1:])
    except Exception as error:  # of click, or of the copy of it that some versions of typer bring
        return getattr(error, "message", str(error))
    missing = [each.name for each in command.params if whole and each.required and not values.get(each.name)]
    numbers = [name for name, kind in KINDS[words[0]].items() if kind in (int, float)]
    wrong = [f"{name}: {values[name]}" for name in numbers if name in values and not _is_number(values[name])]
    return "; ".join([*(f"{name} is missing" for name in missing), *wrong, *(f"unexpected {word}" for word in rest)])


def _is_number(text: str | None) -> bool:
    return text is None or re.fullmatch(r"-?\d+(\.\d*)?", text) is not None


def written_commands(document: str) -> list[list[str]]:
    found = [block for block in blocks(text_of(document)) if block.language in SHELL]
    return [words for block in found for words in shell_commands(block.text, program="nmlab")]


def mentioned_commands(document: str) -> list[list[str]]:
    """Return commands in the text, such as `nmlab methods [NAME]`, without the marks of what may be left out."""
    found = re.findall(r"`nmlab( [^`\n]*)?`", prose(text_of(document)))
    spelled = [text.replace(" [", " ").replace("] ", " ").removesuffix("]").replace("...", "") for text in found]
    return [words for text in spelled for words in shell_commands(f"nmlab{text}", program="nmlab")]


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name not in TOLD_OF_THE_PAST])
def test_commands_parse(document):
    written = {" ".join(words): problem(words, whole=True) for words in written_commands(document)}
    mentioned = {" ".join(words): problem(words, whole=False) for words in mentioned_commands(document)}
    assert {command: wrong for command, wrong in (written | mentioned).items() if wrong} == {}


def test_documents_show_every_command():
    shown = {words[0] for document in DOCUMENTS for words in written_commands(document) if words}
    assert set(COMMANDS) <= shown


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("nmlab sweep", "study is missing"),
        ("nmlab swep quickstart", "unknown command swep"),
        ("nmlab plan a b", "unexpected"),
        ("nmlab plan a --sett x=1", "sett"),
        ("nmlab run wanda --seed one", "one"),
        ("nmlab sweep a --set", "--set"),
        ("RAY=1 nmlab sweep a --sets b | tee log", "sets"),
        ("nmlab sweep \\\n  a --sets b", "sets"),
        ("other$  nmlab plam a   # comment", "plam"),
    ],
)
def test_a_wrong_command_is_found(command, wrong):
    (words,) = shell_commands(command, program="nmlab")
    assert wrong in (problem(words, whole=True) or "")


def test_commands_are_found_between_others():
    block = "cd x && nmlab plan a > log\ncat <<'E'\nnmlab not me\nE\nnmlab status | head  # nmlab no\necho 'nmlab no'\n"
    assert list(shell_commands(block, program="nmlab")) == [["plan", "a"], ["status"]]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_compile(document):
    for block in blocks(text_of(document)):
        if block.language in ("python", "py"):
            compile(block.text, f"{document}:{block.line}", "exec")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_yaml_blocks_are_read_and_whole_studies_are_valid(document):
    for block in blocks(text_of(document)):
        if block.language == "yaml":
            data = yaml.safe_load(block.text)
            if isinstance(data, dict) and {"name", "method", "search"} <= data.keys():
                loader.loads(block.text, source=f"{document}:{block.line}")


def test_the_method_of_the_recipe_is_a_method_and_makes_exact_masks():
    """Its conformance suite takes minutes and is run by hand; here are the parts of it that need no model."""
    found = {block.language: block.text for block in reversed([*blocks(text_of("docs/recipes/add-a-method.md"))])}
    names: dict[str, object] = {"__name__": "relative_magnitude"}
    exec(compile(found["python"], "relative_magnitude.py", "exec"), names)
    method, weight = names["METHOD"], torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    assert len(method.about.summary.splitlines()) == 2
    assert all(field.description for field in type(method.configure({})).model_fields.values())
    weight[2] = weight[:, 3] = 0
    check_mask(topn(names["scores"](weight, column_share=0.5), Pattern(2, 4)), Pattern(2, 4))
    points = tomllib.loads(found["toml"])["project"]["entry-points"]["nmlab.methods"]
    assert points == {method.name: "relative_magnitude:METHOD"}


def test_the_page_of_the_command_line_has_every_command_and_option():
    page = site_module("command_line").command_line_page()
    sections = re.split(r"^## nmlab ", page, flags=re.MULTILINE)[1:]
    shown = {section.split(maxsplit=1)[0]: section for section in sections}
    assert list(shown) == list(COMMANDS)
    for name, command in COMMANDS.items():
        missing = [text for item in command.params for text in item.opts if f"`{text}`" not in shown[name]]
        assert [text for text in missing if text.startswith("--")] == []
        assert "```bash\nnmlab " + name in shown[name]


def test_the_page_of_python_names_everything_that_nmlab_gives():
    named = re.findall(r"^::: nmlab\.(\w+)$", text_of("docs/reference/python.md"), flags=re.MULTILINE)
    assert sorted(named) == sorted(set(nmlab.__all__) - {"__version__"})


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>', 1),
        ("a.html", "<img alt=x src=//example.org/x.png>", 1),
        ("a.html", '<link rel="stylesheet" href="https://fonts.example/css?family=A">', 1),
        ("a.html", '<link href="https://fonts.example" rel="preconnect">', 1),
        ("a.html", '<a href="https://example.org">x</a> <script src="x.js"></script> <img src="a/b.png">', 0),
        ("a.html", '<link rel="canonical" href="https://example.org/">', 0),
        ("a.css", "@import url(https://fonts.example/a.css);", 1),
        ("a.css", "a{background:url(data:image/svg+xml;base64,AA)} b{background:url('x.svg')}", 0),
    ],
)
def test_what_the_site_would_fetch_from_the_network_is_found(tmp_path, name, text, count):
    (tmp_path / name).write_text(text)
    assert len(list(site_module("build_site").fetched_from_elsewhere(tmp_path))) == count
