// A transaction that wrote and then idles, as a crashed worker or a debugger leaves it: what it holds must not stop the
// others of its organisation.
import { runLoad } from "./load.ts";
import { insertOne } from "./sample.ts";
import type { Scenario } from "./scenario.ts";
import { withClient } from "./variants.ts";

export const IDLE_TRANSACTION: Scenario = {
  name: "idle-transaction",
  title: "8 writers, one organisation",
  kind: "idle",
  variants: ["unaudited", "ours"],
  run: ({ url }, { seconds, round }) =>
    withClient(url, async (idle) => {
      const load = () => runLoad(url, { clients: 8, organizations: 1, seconds });
      const throughputBeside = async () => {
        await idle.query("begin");
        await idle.query(insertOne("1"));
        const { tps } = await load();
        await idle.query("rollback");
        return tps;
      };
      // The second half has the fuller log; which half that is changes with the round.
      const halves: [number, number] = [0, 0];
      for (const half of round % 2 === 0 ? [0, 1] : [1, 0]) {
        halves[half] = half === 0 ? (await load()).tps : await throughputBeside();
      }
      const [alone, beside] = halves;
      return { tps_without: alone, tps_with: beside, ratio: beside / alone };
    }),
};
