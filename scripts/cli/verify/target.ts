/** What is to be verified. */
import type { LogFiles } from "./files.ts";

export type Target = {
  kind: "archive" | "organization" | "log";
  /** Months from the oldest. */
  organizations: { organizationId: string; months: { month: string; files: LogFiles }[] }[];
  anchor?: LogFiles;
};
