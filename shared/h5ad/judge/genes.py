"""What a verdict says of the genes: which are used, which are not, and how they fit a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.domain.errors import NoGeneOverlapError, NotGenesError, WrongSpeciesError
from shared.domain.verdict import Finding, GeneIds, Overlap, Species
from shared.domain.words import plural
from shared.h5ad.facts import Candidate, CellFacts, GeneColumn, GeneTable
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.comparing import Difference, difference, shown, some_features
from shared.h5ad.judge.findings import Details, refusal, warning
from shared.h5ad.judge.needs import ModelNeeds
from shared.h5ad.names.agreement import Disagreement
from shared.h5ad.names.gene_table import release
from shared.h5ad.names.genes import Found, mouse_in_capitals, species_counts
from shared.h5ad.names.matching import Matching
from shared.h5ad.values.states import WHOLE_TRANSCRIPTOME

LOW_OVERLAP = 0.5
_NEARLY_ALL_SEEN, _SOME_BARE = 0.85, 0.02
_NEARLY_ALL_NAMED, _NEARLY_ALL_BARE = 0.8, 0.8
_MUCH, _MUCH_TOGETHER = 0.05, 0.08
_EXAMPLES = 3
_RENAMED = (
    "Nothing to do. Symbols change over the years; the Ensembl ids, of file or model, or HGNC say which gene it is."
)
_SPECIES = {Species.HUMAN: "human", Species.MOUSE: "mouse"}


def on_genes(found: Found, table: GeneTable, chosen: Candidate) -> Iterator[Finding]:
    """What is to be known of the genes of the chosen matrix, whatever the model."""
    space, path = found.space, chosen.path
    if table.n_other:
        yield _others(table, path)
    if space.n_duplicates or found.matching.n_summed:
        yield _duplicates(found, table)
    column = _column(found, table)
    ids = column.ids
    if column.cut_from is not None:
        yield _parts(column.cut_from, f"{table.path}/{column.name}")
    if space.kind is GeneIds.UNKNOWN:
        examples = [identifier for identifier in ids[:3] if identifier]
        words = f"the genes are named {shown(ids)}; expected names such as 'CD3D' or 'ENSG00000167286'"
        hint = "Put Ensembl ids or gene symbols into adata.var_names."
        yield warning(WarningCode.GENE_IDS_UNKNOWN, words, hint, {"examples": examples})
    if found.disagreement is not None:
        yield _disagreeing(found.disagreement, found.space.column, table)
    yield from _on_their_species(found, table, ids)
    yield from _on_household(chosen)
    if found.space.species is not Species.UNKNOWN:
        yield from _on_strangers(chosen)
    yield from _on_other_names(found.matching, f"{table.path}/{space.apart}" if space.apart is not None else None)


def _on_other_names(matching: Matching, ids: str | None) -> Iterator[Finding]:
    """What is found by other names than the model's."""
    if matching.n_translated:
        words = f"{matching.n_translated:,} genes of the model are found by translating their names with {release()}"
        hint = (
            "Nothing to do. Genes without a name in GENCODE are missed: send the names that the model has if you can."
        )
        yield warning(WarningCode.GENES_TRANSLATED, words, hint, {"n_translated": matching.n_translated})
    if matching.renamed or matching.ambiguous:
        yield _renamed(matching, ids)


def _renamed(matching: Matching, ids: str | None) -> Finding:
    """What is found by earlier names, and what may be but is not clear.

    Args:
        ids: The column of Ensembl ids beside the names, if there is one.
    """
    renamed, ambiguous = sorted(matching.renamed, key=_of_clones), matching.ambiguous
    sentences = []
    if renamed:
        pairs = [f"{_quoted(theirs)} for {_quoted(ours)}" for theirs, ours in renamed[:_EXAMPLES]]
        said = plural(len(renamed), "gene of the model is", "genes of the model are")
        sentences.append(f"{said} found by an earlier symbol or another name: {', '.join(pairs)}")
    if ambiguous:
        open_names = [f"{_quoted(one.name)} ({' or '.join(one.genes)})" for one in ambiguous[:_EXAMPLES]]
        said = plural(len(ambiguous), "name is", "names are")
        sentences.append(f"{said} not used that may be genes of the model: {', '.join(open_names)}")
    hint = _hint(ids) if ambiguous else _RENAMED
    examples = [f"{theirs} > {ours}" for theirs, ours in renamed[:_EXAMPLES]]
    details: Details = {
        "n_renamed": len(renamed),
        "n_ambiguous": len(ambiguous),
        "examples": examples,
        "ambiguous": [one.name for one in ambiguous[:_EXAMPLES]],
    }
    return warning(WarningCode.GENES_RENAMED, "; ".join(sentences), hint, details)


def _hint(ids: str | None) -> str:
    """What to do about names of which it is open what gene they are."""
    if ids is None:
        return "Put Ensembl ids into a column of adata.var: they tell which gene a name is."
    return f"{ids} has no Ensembl id that decides for these names: put their ids there, which tell the gene."


def _of_clones(pair: tuple[str, str]) -> bool:
    """Whether a name is that of a clone, such as AC004540.2, by which nobody knows a gene."""
    return any("." in name for name in pair)


def _quoted(name: str) -> str:
    return ascii(name[:100])


def _on_household(chosen: Candidate) -> Iterator[Finding]:
    """Of a whole transcriptome every kind of cell has these, and much of them."""
    found, path = chosen.household, chosen.path
    if found is None:
        return
    if found.bare >= _NEARLY_ALL_BARE and found.named >= _NEARLY_ALL_NAMED:
        words = (
            f"the names do not fit the columns of {path}: RPL…, RPS…, MT-… and MALAT1, of which every cell has plenty,"
        )
        words = f"{words} are among the names, but {found.bare:.0%} of the sampled cells have hardly one of them"
        hint = (
            "The names were sorted, shifted or replaced without the matrix, or these genes were emptied. Labels mean "
            "nothing then: put the names and the matrix together again, as they came."
        )
        yield warning(WarningCode.GENES_DISAGREE, words, hint, {"share": round(found.bare, 4)})
        return
    lacking = [(group, share) for group, share in found.seen if share < _NEARLY_ALL_SEEN]
    if lacking and chosen.n_genes >= WHOLE_TRANSCRIPTOME:
        said = ", ".join(f"{group} ({share:.0%} of them found)" for group, share in lacking)
        words = f"{path} lacks genes of which every cell has plenty: {said}; without them a cell's total is smaller"
        hint = (
            "Send the file with all genes if you have it. If none were removed, check that var_names fit the columns."
        )
        yield warning(WarningCode.SUBSET_OF_GENES, f"{words}, and labels may change", hint)
    elif found.bare >= _SOME_BARE:
        words = f"{found.bare:.0%} of the sampled cells of {path} have hardly a ribosomal or mitochondrial gene"
        words = f"{words}: they have selected genes only, and labels of these cells mean little"
        hint = "Perhaps one of several joined files had fewer genes. Join them with all their genes."
        yield warning(WarningCode.SUBSET_OF_GENES, words, hint, {"share": round(found.bare, 4)})


def _on_strangers(chosen: Candidate) -> Iterator[Finding]:
    """Of the genes that were renamed since a file was made none is so loud, and all together have 4 % of the counts."""
    loud = sum(share for _, share in chosen.strangers.loud)
    share = loud if loud >= _MUCH else chosen.strangers.share
    if loud < _MUCH and share < _MUCH_TOGETHER:
        return
    words = f"about {share:.0%} of the values of {chosen.path} are of features that no annotation knows"
    if loud >= _MUCH:
        words = f"{words}: {shown([name for name, _ in chosen.strangers.loud])}"
    hint = (
        "They count into each cell's total. If they are no genes (antibodies, spike-ins, viruses), take them out, "
        'or say so: adata.var["feature_types"] with "Gene Expression" for genes and any other word for these.'
    )
    yield warning(WarningCode.UNKNOWN_FEATURES, words, hint, {"share": round(share, 4)})


def only_others(table: GeneTable) -> NotGenesError:
    """The refusal of a matrix without a gene."""
    kinds = ", ".join(table.other_types)
    return NotGenesError(
        f"none of the {table.n_other:,} features is a gene: {kinds}, such as {shown(table.other_examples)}",
        expected="gene expression",
        where=table.path,
        hint="Send the cells' RNA: of a multiome or CITE-seq experiment, the part with gene expression. "
        "The genes nearest to peaks do not stand in for it.",
    )


def overlap_of(found: Found, model: ModelNeeds) -> Overlap:
    """How much of the model the file can feed."""
    return Overlap(model.n_features, len(found.matched))


def on_model(
    found: Found, overlap: Overlap, model: ModelNeeds, table: GeneTable, cells: CellFacts
) -> Iterator[Finding]:
    """Whether the genes are the model's."""
    ids = _column(found, table).ids
    wrong = _wrong_species(found, model, ids)
    if wrong is not None:
        yield refusal(wrong, {"species": str(found.space.species), "model_species": str(model.species)})
    details = {"n_model": overlap.n_model, "n_matched": overlap.n_matched}
    matched = f"{overlap.n_matched:,} of the {overlap.n_model:,} genes of {model.reference} are in the file"
    if overlap.fraction < model.min_overlap or not overlap.n_matched:
        if wrong is not None:
            differs = Difference("are of another species", f"Do as said for {wrong.code}.")
        else:
            differs = difference(ids, found.space, model.features, cells.genes)
        error = NoGeneOverlapError(
            f"{matched}, whose names {differs.words}: {shown(ids)}",
            expected=f"at least {max(1, round(model.min_overlap * overlap.n_model)):,}, named like "
            f"{some_features(model.features, found.space.kind)}",
            where=f"{table.path}/{found.space.column}",
            hint=differs.hint,
        )
        yield refusal(error, details)
    elif overlap.fraction < LOW_OVERLAP:
        hint = "The model was trained with more genes; low scores are less reliable."
        yield warning(WarningCode.LOW_OVERLAP, matched, hint, details)


def _column(found: Found, table: GeneTable) -> GeneColumn:
    return next(column for column in table.columns if column.name == found.space.column)


def _parts(example: tuple[str, str], path: str) -> Finding:
    whole, part = (ascii(name[:100]) for name in example)
    words = f"the genes' names are read out of the longer ones in {path}: of {whole} the part {part}"
    hint = "Nothing to do if these are genes. If they are guides or other tags of genes, send the file with the genes."
    return warning(WarningCode.GENE_NAMES_CUT, words, hint, {"example": example[0][:100], "part": example[1][:100]})


def _others(table: GeneTable, path: str) -> Finding:
    kinds = ", ".join(table.other_types)
    examples = shown(table.other_examples)
    words = f"{table.n_other:,} features of {path} that are not genes ({kinds}; such as {examples}) are left out"
    hint = "Nothing to do: labels and totals rest on the genes alone."
    if "introns" in table.other_types:
        hint = "Models are made from exons. To count introns too, add them to their genes before you send the file."
    return warning(WarningCode.OTHER_FEATURES, f"{words}, of totals too", hint, {"n_other": table.n_other})


def _duplicates(found: Found, table: GeneTable) -> Finding:
    space, matching = found.space, found.matching
    n_repeated = max(space.n_duplicates, matching.n_summed)
    words = f"{n_repeated:,} genes repeat an identifier of {table.path}/{space.column}"
    hint = "Of different genes with one name the first is used. To decide yourself: adata.var_names_make_unique()."
    if matching.n_summed:
        words += f"; {matching.n_summed:,} are the same genes as the ones before them, and their values are added up"
        hint = "Nothing to do, if they are parts of one gene. If not, remove the columns that you do not want."
    details = {"n_duplicates": n_repeated, "n_summed": matching.n_summed}
    return warning(WarningCode.DUPLICATE_GENES, words, hint, details)


def _disagreeing(found: Disagreement, used: str, table: GeneTable) -> Finding:
    symbols, ids = (f"{table.path}/{name}" for name in found.columns)
    symbol, identifier, meant = map(ascii, found.example)
    words = (
        f"{symbols} and {ids} name different genes: of {found.n_compared:,} rows {found.n_agreeing:,} agree, and "
        f"{symbol} stands beside {identifier}, which is {meant}; {used} is used"
    )
    hint = (
        "One of them was sorted, cut or shifted without the other. If it is the one that is used, labels mean nothing: "
        "compare adata.var with the list of genes that the matrix came with, and send the file without the wrong one."
    )
    details = {"n_compared": found.n_compared, "n_agreeing": found.n_agreeing}
    return warning(WarningCode.GENES_DISAGREE, words, hint, details)


def _on_their_species(found: Found, table: GeneTable, ids: Sequence[str]) -> Iterator[Finding]:
    counts = species_counts(table.columns)
    if counts:
        said = " and ".join(f"{count:,} {_SPECIES.get(species, 'other')}" for species, count in sorted(counts.items()))
        hint = (
            "Cells of the other species get labels that mean nothing, and counts of its genes weigh in every cell's "
            "total: take both out first."
        )
        details = {str(species): count for species, count in counts.items()}
        yield warning(WarningCode.MIXED_SPECIES, f"the genes are of more than one species: {said} names", hint, details)
        return
    if found.space.orthologues:
        yield _orthologues(found, table)
        return
    foreign = found.foreign
    capitals = mouse_in_capitals(ids)
    if foreign is not None:
        species = _SPECIES.get(foreign.species, "another species'")
        words = f"{table.path}/{foreign.column} names {species} genes; the names in {found.space.column} are used"
        yield warning(WarningCode.ORTHOLOGUES_USED, words, _CARRIES_OVER)
    elif capitals:
        words = f"the names are mouse symbols in capitals, such as {shown(capitals)}, and are taken for human ones"
        yield warning(WarningCode.ORTHOLOGUES_USED, words, _CARRIES_OVER)
    elif found.space.species is Species.UNKNOWN:
        words = f"the identifiers in {table.path}/{found.space.column} do not tell the species, such as {shown(ids)}"
        yield warning(WarningCode.SPECIES_UNKNOWN, words, "Check that the model is for your species.")


def _orthologues(found: Found, table: GeneTable) -> Finding:
    species = _SPECIES.get(found.space.species, "another species'")
    words = (
        f"{table.path}/{found.space.column} names {species} genes, and the model is of another species: "
        f"{len(found.matched):,} of its genes are found as one-to-one orthologues, by the option orthologues=on"
    )
    details: Details = {"n_orthologues": len(found.matched), "species": str(found.space.species)}
    return warning(WarningCode.ORTHOLOGUES_USED, words, f"{_CARRIES_OVER} No label is called reliable.", details)


_CARRIES_OVER = "Labels carry over only as far as the species are alike: a model of the cells' own species is better."


def _wrong_species(found: Found, model: ModelNeeds, ids: Sequence[str]) -> WrongSpeciesError | None:
    theirs = found.space.species
    if Species.UNKNOWN in {theirs, model.species} or theirs is model.species or found.space.orthologues:
        return None
    spelled = (
        "If the cells are human and only the spelling is a mouse's: adata.var_names = adata.var_names.str.upper(). "
    )
    return WrongSpeciesError(
        f"the genes are of {theirs}, by {found.space.column}: {shown(ids)}",
        expected=f"{model.species}, the species of {model.reference}, with names like "
        f"{some_features(model.features, found.space.kind)}",
        hint=f"{spelled if theirs is Species.MOUSE else ''}Choose a model of your species with "
        "--model. With `--set orthologues=on`, one-to-one orthologues are matched; "
        "no label is called reliable then.",
    )
