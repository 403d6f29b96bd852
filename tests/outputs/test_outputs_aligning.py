"""Names of cell types are aligned by id, name or exact synonym; what is not certain is not aligned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.aligning import NO_MEANING, Aligner, How, Meaning, plain
from shared.bundles.card import Label
from shared.bundles.groups import Group

LABELS = (
    Label(name="b-cells", ontology_id="CL:0000236", lineage="B cell"),
    Label(name="cd14-monocytes", ontology_id="CL:0001054", lineage="Monocyte"),
    Label(name="naive-t", ontology_id="CL:0000895", lineage="T cell"),
    Label(name="dendritic", lineage="Dendritic cell"),
)


def meaning(name: str, identifier: str | None = None) -> Meaning:
    return Aligner(LABELS).meanings([name], [identifier])[0]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("B cells", "b-cells"),
        ("B_CELL", "b-cells"),
        ("b-cells", "b-cells"),
        ("CD14+ Monocytes", "cd14-monocytes"),
        ("cd14 monocyte", "cd14-monocytes"),
        ("Naive T cell", "naive-t"),
        ("Dendritic Cells", "dendritic"),
    ],
)
def test_a_name_that_differs_only_in_spelling_is_aligned(name: str, label: str) -> None:
    assert (meaning(name).label, meaning(name).how) == (label, How.NAME)


@pytest.mark.parametrize(
    "name", ["CD14- monocyte", "CD14 Monos T", "T", "pre-B cell", "7", "", "cell", "memory B cells"]
)
def test_a_name_that_may_mean_something_else_is_not_a_label(name: str) -> None:
    assert meaning(name).label is None


BLOOD = tuple(
    Label(name=name, lineage=lineage)
    for name, lineage in {
        "B cell": "B cell",
        "CD14 monocyte": "Monocyte",
        "CD16 monocyte": "Monocyte",
        "NK cell": "NK cell",
        "Dendritic cell": "Dendritic cell",
        "Regulatory T cell": "T cell",
        "Naive CD8 T cell": "T cell",
    }.items()
)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("CD19+ B", "B cell"),
        ("CD20+B cells", "B cell"),
        ("MS4A1+ B cell", "B cell"),
        ("CD56+ NK", "NK cell"),
        ("Natural Killer cells", "NK cell"),
        ("CD14+ Mono", "CD14 monocyte"),
        ("FCGR3A+ Mono", "CD16 monocyte"),
        ("FCGR3A+ Monocytes", "CD16 monocyte"),
        ("DC", "Dendritic cell"),
        ("DCs", "Dendritic cell"),
        ("Treg", "Regulatory T cell"),
        ("T Reg", "Regulatory T cell"),
    ],
)
def test_an_abbreviation_or_a_marker_that_goes_without_saying_is_a_synonym(name: str, label: str) -> None:
    found = Aligner(BLOOD).meanings([name])[0]
    assert (found.label, found.how) == (label, How.SYNONYM)


@pytest.mark.parametrize(
    "name",
    [
        "CD19- B",
        "CD19-B",
        "CD19+CD27+ B",
        "memory CD19+ B",
        "CD14-CD16+ Mono",
        "CD14+CD16+ Mono",
        "CD16-Mono",
        "FCGR3A-Mono",
        "FCGR3A- Mono",
        "CD16++ Mono",
        "CD4+/CD25 T Reg",
        "CD8+ T",
        "CD56bright NK",
        "CD56+ NK T",
        "CD3+ B",
        "CD19 negative B",
        "CD19\u2013 B",
        "pDC",
        "DC/Mono",
        "T regulator",
        "NKT",
        "non-B",
    ],
)
def test_more_than_a_synonym_is_not_aligned_with_a_label(name: str) -> None:
    assert Aligner(BLOOD).meanings([name])[0].label is None


def test_a_label_with_a_marker_is_not_taken_for_all_of_its_type() -> None:
    labels = (Label(name="CD56+ NK"), Label(name="CD19+ B cell"))
    assert Aligner(labels).meanings(["NK", "B cells", "CD20+ B"]) == (NO_MEANING,) * 3


def test_a_lineage_has_synonyms_too() -> None:
    found = Aligner(BLOOD).meanings(["CD3+ T cells", "Monos", "CD3- T cells"])
    assert found == (Meaning(None, "T cell", How.SYNONYM), Meaning(None, "Monocyte", How.SYNONYM), NO_MEANING)


def test_a_lineage_is_aligned_where_no_label_is() -> None:
    assert meaning("T cells") == Meaning(None, "T cell", How.NAME)
    assert meaning("Monocytes") == Meaning(None, "Monocyte", How.NAME)
    assert meaning("Erythrocyte") == NO_MEANING


def test_an_id_decides_before_a_name() -> None:
    assert meaning("CL:0000236") == Meaning("b-cells", "B cell", How.ID)
    assert meaning("anything", "CL:0001054") == Meaning("cd14-monocytes", "Monocyte", How.ID)
    assert meaning("B cells", "CL:0001054").label == "cd14-monocytes"
    assert meaning("B cells", "CL:9999999").label == "b-cells"


def test_a_synonym_is_aligned_if_an_ontology_is_at_hand() -> None:
    ids = {"naive helper T": "CL:0000895", "dendritic": "CL:0000451", "DC cell": "CL:0000451"}
    found = Aligner(LABELS, ids.get).meanings(["naive helper T", "DC cell"])
    assert found == (Meaning("naive-t", "T cell", How.SYNONYM), Meaning("dendritic", "Dendritic cell", How.SYNONYM))


def test_what_two_labels_share_stands_for_neither() -> None:
    twins = (Label(name="T-cell", ontology_id="CL:0000084"), Label(name="T cells", ontology_id="CL:0000084"))
    assert Aligner(twins).meanings(["t cell", "CL:0000084"]) == (NO_MEANING, NO_MEANING)
    same = (Label(name="T", ontology_id="CL:0000084"), Label(name="T", ontology_id="CL:0000624"))
    assert Aligner(same).meanings(["T cells", "CL:0000624"])[0].label == "T"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CD16- monocytes", "CD16 monocytes", False),
        ("CD4+CD25 T Reg", "cd4 cd25 t reg", True),
        ("CD4+T cells", "CD4 T", True),
        ("cd56-nk", "CD56+ NK cells", True),
        ("naive-t", "Naive T cells", True),
        ("cd8-naive-t", "CD8+ naive T", True),
        ("Th-17", "TH 17 cells", True),
        ("HLA-DR T", "hla_dr-t", True),
        ("Pre-cDC2", "pre-cdc2", True),
        ("CD14-positive monocyte", "cd14 positive monocytes", True),
        ("CD14-CD16+ Monocytes", "CD14+CD16+ Monocytes", False),
        ("CD14-CD16+ Monocytes", "CD14+CD16- Monocytes", False),
        ("CD14-CD16+ Monocytes", "CD14- CD16 monocyte", True),
        ("CD4-CD8- T", "CD4+CD8- T", False),
        ("CD4-CD8- T", "cd4-cd8- t cells", True),
        ("CD16-CD56bright NK", "CD16+CD56bright NK", False),
        ("CD45RA-CD62L+ T", "CD45RA+CD62L+ T", False),
        ("Lin-CD34+", "Lin CD34+", False),
        ("CD4-CD8-T", "CD4-CD8+ T", False),
        ("CD4+CD8-T cells", "CD4+CD8+ T cells", False),
        ("CD4+CD8-T cells", "CD4+CD8-T-cell", True),
        ("CD8-naive T", "CD8+ naive T", True),
        ("pre-cd4-t", "Pre CD4 T", True),
        ("CD14-, CD16+ monocytes", "CD14+, CD16+ monocytes", False),
        ("T (CD4-CD8-)", "T (CD4-CD8+)", False),
        ("DN T (CD4-CD8)", "DN T (CD4+CD8)", False),
        ("CD4\u207b T", "CD4+ T", False),
        ("CD4\u2212CD8+ T", "CD4+CD8+ T", False),
        ("T cells (naive)", "t-cell (naive)", True),
        ("IL7R-CD4+ T", "IL7R CD4 T", False),
        ("cd4-cd8-t", "CD4+CD8+ T", False),
        ("cd4-cd8-t", "CD4-CD8+ T", False),
        ("cd4-cd8-t", "cd4-cd8-t-cells", True),
        ("CD16++ monocytes", "CD16+ monocytes", False),
        ("NK/T cell", "NK T cell", False),
        ("NK/T cell", "nk / t cells", True),
        ("B+T cells", "B T cells", False),
        ("CD4+/CD25 T Reg", "cd4 cd25 t reg", False),
        ("-7", "7", False),
        ("thymus", "thymu", False),
        ("Memory B", "Memory", False),
        ("CD14 - monocyte", "CD14- monocyte", False),
        ("CD4-CD8 T", "cd4-cd8 t", False),
        ("cells", "cell", True),
        ("cell", "", False),
        ("NKs", "NK", False),
        ("ILCs", "ILC", True),
        ("T-cell", "T cells", True),
        ("  NK  cells ", "nk-cell", True),
    ],
)
def test_spelling_that_does_not_matter(one: str, other: str, *, same: bool) -> None:
    assert (plain(one) == plain(other)) is same


MARKERS = st.sampled_from(["CD3", "CD4", "CD8", "CD45RA", "CD56bright", "IL7R", "Sca1"])


@given(st.lists(st.tuples(MARKERS, st.booleans()), min_size=1, max_size=4), st.data())
def test_opposite_markers_are_never_the_same(signs: list[tuple[str, bool]], data: st.DataObject) -> None:
    """However it is spaced, a name with one sign turned is another one."""

    def name(signed: list[tuple[str, bool]]) -> str:
        between = [*data.draw(st.lists(st.sampled_from(["", " ", "_"]), min_size=3, max_size=3)), " "]
        parts = [f"{marker}{'+' if positive else '-'}" for marker, positive in signed]
        return "".join(map("".join, zip(parts, [*between[: len(parts) - 1], " "], strict=True))) + "T cells"

    turned = data.draw(st.integers(0, len(signs) - 1))
    others = [(marker, positive != (place == turned)) for place, (marker, positive) in enumerate(signs)]
    assert plain(name(signs)) == plain(name(signs))
    assert plain(name(signs)) != plain(name(others))


ALIASES = {"MS4A1": "CD20", "FCGR3A": "CD16", "NCAM1": "CD56"}
DEFINING = {("CD19", "B"), ("CD20", "B"), ("CD3", "T"), ("CD56", "NK")}
TYPES = {
    "B": "B cell",
    "T": "T cell",
    "NK": "NK cell",
    "Mono": "monocyte",
    "Monocytes": "monocyte",
    "DC": "Dendritic cell",
}
SIGNED = st.tuples(
    st.sampled_from(["CD3", "CD14", "CD16", "CD19", "CD20", "CD56", "MS4A1", "FCGR3A", "NCAM1"]),
    st.sampled_from(["+", "-", "", " "]),
)


@given(st.lists(SIGNED, max_size=3), st.sampled_from(sorted(TYPES)), st.sampled_from(["", " ", "_"]))
def test_an_aligned_name_says_what_the_label_says(markers: list[tuple[str, str]], cell_type: str, gap: str) -> None:
    """However markers, signs and types are put together: no marker is lost but one that defines the type."""
    labels = [Label(name=name) for name in (*dict.fromkeys(TYPES.values()), "CD14 monocyte", "CD16 monocyte")]
    words = "".join(f"{marker}{sign}" for marker, sign in markers)
    found = Aligner(labels).meanings([f"{words}{gap}{cell_type}"])[0].label
    if found is None:
        return
    *named, last = found.removesuffix(" cell").split(" ")
    assert last == TYPES[cell_type].removesuffix(" cell")
    hyphen = len(markers) == 1 and not gap  # "CD14-monocytes" is how many write "CD14 monocytes".
    assert hyphen or "-" not in [sign for _, sign in markers]
    meant = [ALIASES.get(marker, marker) for marker, _ in markers]
    assert named == meant or (named == [] and [(one, cell_type) for one in meant] in [[pair] for pair in DEFINING])


def test_numbers_and_lone_letters_are_codes_and_no_names() -> None:
    labels = [Label(name="B cell", ontology_id="CL:0000236"), Label(name="0"), Label(name="NK cell")]
    meanings = Aligner(labels).meanings
    assert meanings(["A", "B", "T"]) == (NO_MEANING,) * 3
    assert meanings(["0", "-1", "2"]) == (NO_MEANING,) * 3
    assert [one.label for one in meanings(["B", "NK"])] == ["B cell", "NK cell"]
    assert [one.label for one in meanings(["B"], ["CL:0000236"])] == ["B cell"]


GROUPED = tuple(
    Label(name=name, lineage=lineage)
    for name, lineage in [("naive CD8", "T"), ("effector CD8", "T"), ("helper", "T"), ("NK", "NK"), ("B", "B")]
)
GROUPS = (
    Group(name="CD8-positive, alpha-beta T cell", ontology_id="CL:0000625", labels=("naive CD8", "effector CD8")),
    Group(name="lymphocyte", ontology_id="CL:0000542", labels=tuple(label.name for label in GROUPED[:4])),
)


@pytest.mark.parametrize("name", ["CD8 T", "CD8+ T cells", "CD8-positive, alpha-beta T cell", "CL:0000625"])
def test_a_type_between_label_and_lineage_is_compared_by_lineage(name: str) -> None:
    (found,) = Aligner(GROUPED, groups=GROUPS).meanings([name])
    assert (found.label, found.lineage) == (None, "T")
    assert Aligner(GROUPED, groups=GROUPS, lineages=False).meanings([name]) == (NO_MEANING,)


@pytest.mark.parametrize("name", ["lymphocyte", "CL:0000542", "CD4 T"])
def test_a_type_of_several_lineages_is_not(name: str) -> None:
    assert Aligner(GROUPED, groups=GROUPS).meanings([name]) == (NO_MEANING,)
