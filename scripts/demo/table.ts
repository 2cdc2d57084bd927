/** Columns aligned by their widest cell: numbers to the right, text to the left. */
export function formatTable(header: string[], rows: string[][]): string {
  const columns = header.map((title, index) => {
    const cells = rows.map((row) => row[index] ?? "");
    const width = Math.max(title.length, ...cells.map((cell) => cell.length));
    const isNumeric = cells.every((cell) => /^-?[\d.]+$/.test(cell));
    return [title, ...cells].map((cell) => isNumeric ? cell.padStart(width) : cell.padEnd(width));
  });
  return [header, ...rows]
    .map((_, line) => `  ${columns.map((column) => column[line]).join("  ").trimEnd()}`)
    .join("\n");
}
