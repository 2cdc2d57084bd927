// Where alerts go, and what became of them.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askBody, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, PROBLEMS, SIGNED_IN } from "../respond.ts";
import {
  Channel,
  ChannelBody,
  ChannelChange,
  ChannelList,
  ChannelPath,
  Delivery,
  DeliveryList,
  DeliveryParameters,
  DeliveryPath,
  NoParameters,
  OrganizationParameters,
} from "../schemas.ts";

const TAG = { tags: ["Channels"], security: SIGNED_IN };
const ofChannel = { params: ChannelPath, query: NoParameters };

const list = createRoute({
  ...TAG,
  method: "get",
  path: "/channels",
  summary: "Where alerts go",
  description: "For admins with their settings, for auditors without. Never with secrets.",
  request: { query: OrganizationParameters },
  responses: answers("Channels, by name.", ChannelList),
});

const create = createRoute({
  ...TAG,
  method: "post",
  path: "/channels",
  summary: "Make a channel",
  description: "webhook: Standard Webhooks; the answer has its signing secret, once. slack: an incoming webhook. " +
    "email: an API in Resend's form. smtp: a mail server. For admins.",
  request: { body: body(ChannelBody) },
  responses: {
    201: { description: "The channel.", content: { "application/json": { schema: Channel } } },
    ...PROBLEMS,
  },
});

const change = createRoute({
  ...TAG,
  method: "patch",
  path: "/channels/{id}",
  summary: "Change a channel",
  description: "What is not given stays. With another host, port, username or API the secret is to be given anew.",
  request: { ...ofChannel, body: body(ChannelChange) },
  responses: answers("The channel.", Channel),
});

const remove = createRoute({
  ...TAG,
  method: "delete",
  path: "/channels/{id}",
  summary: "Delete a channel",
  description: "With its secret, and what waits for it.",
  request: ofChannel,
  responses: answers("The channel as it was.", Channel),
});

const rotate = createRoute({
  ...TAG,
  method: "post",
  path: "/channels/{id}/rotate",
  summary: "Give a webhook a new signing secret",
  description: "The answer has it, once. For 24 hours messages are signed with the old one too.",
  request: ofChannel,
  responses: answers("The channel.", Channel),
});

const enable = createRoute({
  ...TAG,
  method: "post",
  path: "/channels/{id}/enable",
  summary: "Have a channel that was disabled get messages again",
  request: ofChannel,
  responses: answers("The channel.", Channel),
});

const disable = createRoute({
  ...TAG,
  method: "post",
  path: "/channels/{id}/disable",
  summary: "Have a channel get nothing",
  description: "Until it is enabled. What it misses can be sent again then.",
  request: ofChannel,
  responses: answers("The channel.", Channel),
});

const test = createRoute({
  ...TAG,
  method: "post",
  path: "/channels/{id}/test",
  summary: "Send a channel a message",
  description: "Once, and answers what became of it; where that takes longer, that it waits.",
  request: ofChannel,
  responses: answers("The message: delivered, or dead and why.", Delivery),
});

const deliveries = createRoute({
  ...TAG,
  method: "get",
  path: "/deliveries",
  summary: "Messages to channels",
  description: "The newest 200, without what they say. dead: given up; they can be sent again.",
  request: { query: DeliveryParameters },
  responses: answers("Messages, newest first.", DeliveryList),
});

const replay = createRoute({
  ...TAG,
  method: "post",
  path: "/deliveries/{id}/replay",
  summary: "Send a message again that was given up",
  description: "Under its old id. For admins.",
  request: { params: DeliveryPath, query: NoParameters },
  responses: answers("The message.", Delivery),
});

/** Milliseconds that somebody waits for a test, and between two looks. An attempt has 20 s. */
const PATIENCE = 25_000;
const PAUSE = 400;

export function addChannels(app: App, deps: Deps): void {
  app.openapi(list, async (c) => json(await ask(c, deps, "list_channels", JSON.stringify(c.req.valid("query")))));
  app.openapi(create, async (c) => json(await askBody(c, deps, "create_channel"), 201));
  app.openapi(change, async (c) => {
    const request = { ...c.req.valid("json"), channel: c.req.valid("param").id };
    return json(await ask(c, deps, "change_channel", JSON.stringify(request)));
  });
  for (
    const [route, name] of [
      [remove, "delete_channel"],
      [rotate, "rotate_channel_secret"],
      [enable, "enable_channel"],
      [disable, "turn_channel_off"],
    ] as const
  ) {
    app.openapi(route, async (c) => {
      return json(await ask(c, deps, name, JSON.stringify({ channel: c.req.param("id") })));
    });
  }
  app.openapi(test, async (c) => {
    const end = performance.now() + PATIENCE;
    let told = await ask(c, deps, "test_channel", JSON.stringify({ channel: c.req.valid("param").id }));
    const { id, organization_id } = JSON.parse(told) as { id: string; organization_id: string };
    for (;;) {
      const { deliveries: [delivery] } = JSON.parse(
        await ask(c, deps, "list_deliveries", JSON.stringify({ organization_id, delivery: id })),
      ) as { deliveries: { state: string }[] };
      // Somebody has deleted the channel meanwhile: then what was said last holds.
      if (delivery === undefined) return json(told);
      told = JSON.stringify(delivery);
      if (delivery.state !== "waiting" || performance.now() > end) return json(told);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  });
  app.openapi(deliveries, async (c) => {
    return json(await ask(c, deps, "list_deliveries", JSON.stringify(c.req.valid("query"))));
  });
  app.openapi(replay, async (c) => {
    return json(await ask(c, deps, "replay_delivery", JSON.stringify({ delivery: c.req.valid("param").id })));
  });
}
