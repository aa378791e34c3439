// The report of an erasure: what is gone, what is not, and what was out of reach.
import { h } from "./dom.js";
import { ask, number } from "./parts.js";
import { moment } from "./words.js";

const list = (items, none) => (items.length ? h("ul", {}, items.map((one) => h("li", {}, one))) : h("p", {}, none));

/** Show the answer to an erasure; whoever closes it goes to `next`. */
export function showErased(title, { found = [], removedRows = {}, remaining = [], erasedAt, searchedFiles = [], signature }, next) {
  const rows = Object.entries(removedRows).filter(([, many]) => Number(many)).map(([table, many]) => `${number(many)} in ${table.replaceAll("_", " ")}`);
  ask(title, [
    found.length ? h("div.problem", {}, h("strong", {}, "Something is still there:"), list(found, "")) : h("p.done", {}, "The store was searched afterwards, and nothing was found."),
    h("h2", {}, "Removed or emptied"), list(rows, "Nothing was stored."), h("h2", {}, "Out of reach"), list(remaining, "Nothing that is known."),
    erasedAt ? h("p.dim", {}, `Erased ${moment(erasedAt)}. Searched: ${searchedFiles.join(", ") || "the database"}.`) : null,
    signature ? h("details", {}, h("summary", {}, "Signature"), h("pre", {}, signature)) : null,
  ], { wide: true, closed: () => location.assign(next) });
}
