// What an entry says beyond its columns: changes as old and new, additions and removals as lists, the rest as it is.
import { text } from "./text.ts";

type Values = Record<string, unknown>;

export function Changes({ details }: { details: Values }) {
  const { changes, new: added, old: removed, ...rest } = details;
  return (
    <section class="changes">
      {isValues(changes) && <ChangeTable changes={changes} />}
      {isValues(added) && <ValueTable title={text.entry.added} values={added} kind="new" />}
      {isValues(removed) && <ValueTable title={text.entry.removed} values={removed} kind="old" />}
      {Object.keys(rest).length > 0 && <ValueTable title={text.entry.details} values={rest} kind="plain" />}
    </section>
  );
}

function ChangeTable({ changes }: { changes: Values }) {
  return (
    <table>
      <caption>{text.entry.changes}</caption>
      <thead>
        <tr>
          <th scope="col">{text.entry.field}</th>
          <th scope="col">{text.entry.before}</th>
          <th scope="col">{text.entry.after}</th>
        </tr>
      </thead>
      <tbody>
        {Object.entries(changes).map(([field, change]) => (
          <tr key={field}>
            <th scope="row" dir="auto">{field}</th>
            <td class="old" dir="auto">{shown(isValues(change) ? change.old : change)}</td>
            <td class="new" dir="auto">{shown(isValues(change) ? change.new : undefined)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function ValueTable({ title, values, kind }: { title: string; values: Values; kind: "new" | "old" | "plain" }) {
  return (
    <table>
      <caption>{title}</caption>
      <tbody>
        {Object.entries(values).map(([field, value]) => (
          <tr key={field}>
            <th scope="row" dir="auto">{field}</th>
            <td class={kind} dir="auto">{shown(value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function shown(value: unknown): string {
  return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value, null, 1);
}

function isValues(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
