// Reports: asked for, how far they are, and their files.
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { formatTime } from "./format.ts";
import { ProblemNote } from "./problem_note.tsx";
import { Schedules } from "./schedules.tsx";
import { text } from "./text.ts";

type Template = { template: string; title: string; about: string };
type Report = {
  id: string;
  title: string;
  from: string;
  to: string;
  requested_at: string;
  state: string;
  steps_done: number;
  steps: number;
  error: string | null;
  files: { name: string; url?: string }[];
};

/** These are asked about a person or an entry, not a period. */
const OTHERS = ["incident", "subject_access"];
const AGAIN_AFTER = 3_000;

export function Reports({ api, membership }: ViewProps) {
  const organization_id = membership.organization_id;
  const [templates, setTemplates] = useState<Template[]>([]);
  const [reports, setReports] = useState<Report[]>([]);
  const [problem, setProblem] = useState<Problem>();

  const load = useCallback(async () => {
    const [known, made] = await Promise.all([
      api.get<{ templates: Template[] }>("/report-templates"),
      api.get<{ reports: Report[] }>("/reports", { organization_id }),
    ]);
    if (isProblem(known)) return setProblem(known);
    if (isProblem(made)) return setProblem(made);
    setProblem(undefined);
    setTemplates(known.templates.filter(({ template }) => !OTHERS.includes(template)));
    setReports(made.reports);
  }, [api, organization_id]);
  useEffect(() => void load(), [load]);
  useEffect(() => {
    if (!reports.some(({ state }) => state === "queued" || state === "running")) return;
    const timer = setTimeout(load, AGAIN_AFTER);
    return () => clearTimeout(timer);
  }, [reports, load]);

  const request = async (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const given = Object.fromEntries([...fields].filter(([, value]) => value !== ""));
    const answer = await api.post<Report>("/reports", { organization_id, ...given });
    if (isProblem(answer)) setProblem(answer);
    else await load();
  };

  return (
    <section>
      <h1>{text.views.reports}</h1>
      {problem !== undefined && <ProblemNote problem={problem} retry={load} />}
      <form class="ask" onSubmit={request}>
        <label>
          {text.reports.template}
          <select name="template">
            {templates.map(({ template, title }) => <option key={template} value={template}>{title}</option>)}
          </select>
        </label>
        <label>
          {text.days.from}
          <input type="date" name="from" />
        </label>
        <label>
          {text.reports.before}
          <input type="date" name="to" />
        </label>
        <button type="submit" disabled={templates.length === 0}>{text.reports.generate}</button>
      </form>
      <p class="quiet">{text.reports.period}</p>
      <ul class="reports" aria-live="polite">
        {reports.map((report) => (
          <li key={report.id}>
            <strong>{report.title}</strong>
            <span class="quiet">
              {text.reports.about(report.from.slice(0, 10), report.to.slice(0, 10), formatTime(report.requested_at))}
            </span>
            <span>{text.reports.state(report.state, report.steps_done, report.steps)}</span>
            {report.error !== null && <span class="problem">{report.error}</span>}
            {report.state === "done" && <Files api={api} id={report.id} />}
          </li>
        ))}
      </ul>
      {reports.length === 0 && <p>{text.reports.none}</p>}
      {templates.length > 0 && <Schedules {...{ api, membership, templates }} />}
    </section>
  );
}

/** Addresses hold for an hour, so they are asked for when they are wanted. */
function Files({ api, id }: { api: ViewProps["api"]; id: string }) {
  const [report, setReport] = useState<Report | Problem>();
  const ask = async () => setReport(await api.get<Report>(`/reports/${id}`));
  if (report === undefined) return <button type="button" onClick={ask}>{text.reports.files}</button>;
  if (isProblem(report)) return <ProblemNote problem={report} retry={ask} />;
  return (
    <span class="files">
      {report.files.filter(({ url }) => url !== undefined).map(({ name, url }) => (
        <a key={name} href={url!} download={name}>{name}</a>
      ))}
    </span>
  );
}
