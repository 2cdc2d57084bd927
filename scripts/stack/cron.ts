// The clock of the pg_cron stand-in: runs what is due in cron.job as its user and writes cron.job_run_details.
// Times are UTC, as in pg_cron. A job that still runs is not started a second time.
// Not imitated: the limit of parallel jobs, catching up on what was missed while the clock stood still.
import pg from "pg";

export type ClockOptions = {
  /** Connected as superuser; reads the jobs and writes the runs. */
  pool: pg.Pool;
  /** The database as `username`, to run the job. */
  urlFor: (username: string) => string;
};

type Job = { jobid: string; schedule: string; command: string; username: string; database: string };

export type Clock = { stop(): Promise<void> };

export function startClock({ pool, urlFor }: ClockOptions): Clock {
  const running = new Map<string, Promise<void>>();
  const lastStart = new Map<string, number>();
  let busy = false;
  const timer = setInterval(tick, 500);
  const started = Date.now();

  async function tick(): Promise<void> {
    if (busy) return;
    busy = true;
    try {
      const { rows } = await pool.query<Job>("select * from cron.job where active and database = current_database()");
      const now = Date.now();
      for (const job of rows) {
        if (running.has(job.jobid) || !isDue(job.schedule, now, lastStart.get(job.jobid) ?? started)) continue;
        lastStart.set(job.jobid, now);
        running.set(job.jobid, execute(job).finally(() => running.delete(job.jobid)));
      }
    } catch (error) {
      console.error(`cron: ${(error as Error).message}`);
    } finally {
      busy = false;
    }
  }

  async function execute(job: Job): Promise<void> {
    const { rows } = await pool.query<{ runid: string }>(
      `insert into cron.job_run_details (jobid, database, username, command, status)
       values ($1, $2, $3, $4, 'starting')
       returning runid`,
      [job.jobid, job.database, job.username, job.command],
    );
    const finish = (status: string, message: string) =>
      pool.query(
        "update cron.job_run_details set status = $2, return_message = $3, end_time = now() where runid = $1",
        [
          rows[0]!.runid,
          status,
          message,
        ],
      );
    const client = new pg.Client({ connectionString: urlFor(job.username), application_name: "pg_cron" });
    client.on("error", () => {});
    try {
      await client.connect();
      await pool.query(
        `update cron.job_run_details set status = 'running', start_time = now(), job_pid = $2 where runid = $1`,
        [rows[0]!.runid, (client as unknown as { processID: number }).processID],
      );
      const result = await client.query(job.command);
      const last = Array.isArray(result) ? result.at(-1) : result;
      await finish("succeeded", last.rowCount === null ? last.command : `${last.rowCount} rows`);
    } catch (error) {
      await finish("failed", `ERROR:  ${(error as Error).message}`);
    } finally {
      await client.end().catch(() => {});
    }
  }

  return {
    async stop() {
      clearInterval(timer);
      await Promise.allSettled(running.values());
    },
  };
}

/** Is a job due at `now`, that was started last at `last`? Both in milliseconds. */
export function isDue(schedule: string, now: number, last: number): boolean {
  const interval = /^(\d+) seconds?$/.exec(schedule)?.[1];
  if (interval !== undefined) return now - last >= Number(interval) * 1000;
  const minute = Math.floor(now / 60_000);
  return minute > Math.floor(last / 60_000) && matchesMinute(schedule, new Date(minute * 60_000));
}

const FIELDS = [[0, 59], [0, 23], [1, 31], [1, 12], [0, 7]] as const;
const NAMES: Record<string, number> = Object.fromEntries([
  ...["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"].map((
    name,
    i,
  ) => [name, i + 1]),
  ...["sun", "mon", "tue", "wed", "thu", "fri", "sat"].map((name, i) => [name, i]),
]);

/** Five fields as in crontab(5): minute, hour, day of month, month, day of week. */
function matchesMinute(schedule: string, time: Date): boolean {
  const fields = schedule.trim().toLowerCase().split(/\s+/);
  const tomorrow = new Date(time.getTime() + 24 * 3600 * 1000);
  const values = [
    time.getUTCMinutes(),
    time.getUTCHours(),
    time.getUTCDate(),
    time.getUTCMonth() + 1,
    time.getUTCDay(),
  ];
  const [minute, hour, day, month, weekday] = fields.map((field, index) => {
    // `$` is pg_cron's last day of the month.
    if (index === 2 && field === "$") return tomorrow.getUTCDate() === 1;
    const [low, high] = FIELDS[index]!;
    return field.split(",").some((part) =>
      inRange(part, values[index]!, low, high) ||
      (index === 4 && values[4] === 0 && inRange(part, 7, low, high))
    );
  });
  // When both days are restricted, either is enough.
  const either = !fields[2]!.startsWith("*") && !fields[4]!.startsWith("*");
  return minute! && hour! && month! && (either ? day! || weekday! : day! && weekday!);
}

function inRange(part: string, value: number, low: number, high: number): boolean {
  const match = /^(\*|\w+)(?:-(\w+))?(?:\/(\d+))?$/.exec(part);
  if (match === null) return false;
  const [, from = "", to, step] = match;
  const number = (text: string) => NAMES[text] ?? Number(text);
  const first = from === "*" ? low : number(from);
  const last = to !== undefined ? number(to) : from === "*" || step !== undefined ? high : first;
  return value >= first && value <= last && (value - first) % Number(step ?? 1) === 0;
}
