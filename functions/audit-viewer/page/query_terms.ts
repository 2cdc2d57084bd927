// The terms of a query as it is typed. The database reads queries; here they are only taken apart and put together.

/** What must hold all together; a query with `or` at its top is one term. */
export function termsOf(query: string): string[] {
  const words: string[] = [];
  let word = "";
  let depth = 0;
  let inQuotes = false;
  for (let at = 0; at < query.length; at++) {
    const char = query[at]!;
    if (inQuotes && char === "\\") word += char + (query[++at] ?? "");
    else if (/\s/.test(char) && depth === 0 && !inQuotes) {
      if (word !== "") words.push(word);
      word = "";
    } else {
      if (char === '"') inQuotes = !inQuotes;
      else if (!inQuotes && char === "(") depth++;
      else if (!inQuotes && char === ")") depth--;
      word += char;
    }
  }
  if (word !== "") words.push(word);
  if (words.some((each) => each.toLowerCase() === "or")) return [query.trim()];
  const terms: string[] = [];
  let before = "";
  for (const each of words) {
    if (each.toLowerCase() === "not") before += `${each} `;
    else if (each.toLowerCase() !== "and") {
      terms.push(before + each);
      before = "";
    }
  }
  return before === "" ? terms : [...terms, before.trim()];
}

export function withoutTerm(query: string, at: number): string {
  return termsOf(query).filter((_, n) => n !== at).join(" ");
}

/** The query and one term more; of times there is one at most. */
export function withTerm(query: string, field: string, value: string): string {
  const term = `${field}:${value}`;
  const terms = termsOf(query);
  const isOr = terms.length === 1 && /\sor\s/i.test(query);
  const kept = isOr
    ? [`(${query.trim()})`]
    : terms.filter((each) => field !== "created" || !each.startsWith("created:"));
  return kept.includes(term) ? query : [...kept, term].join(" ");
}

/** A value in the query language. */
export function quoted(value: string): string {
  const isPlain = /^\w+([.@-]\w+)*$/.test(value) && !/^(and|or|not)$/i.test(value);
  return isPlain ? value : `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
