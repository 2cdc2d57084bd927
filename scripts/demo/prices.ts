export type Provider = "openai" | "anthropic" | "google" | "perplexity";

export interface Model {
  provider: Provider;
  name: string;
  /** US cents per million tokens, so that every cost is a whole number of 10^-8 dollars. */
  input: number;
  output: number;
  /** How often the demo uses it, relative to the others. */
  weight: number;
}

/**
 * List prices for prompts below 200,000 tokens, without discounts for caching or batches and without Perplexity's fee
 * per search, from the providers' public price lists as of August 2026:
 * - https://developers.openai.com/api/docs/pricing
 * - https://www.anthropic.com/pricing#api
 * - https://ai.google.dev/gemini-api/docs/pricing
 * - https://docs.perplexity.ai/docs/getting-started/pricing
 * (checked through github.com/pydantic/genai-prices at 47df840a, 2026-08-21)
 */
export const MODELS: readonly Model[] = [
  { provider: "openai", name: "gpt-5.1", input: 125, output: 1000, weight: 20 },
  { provider: "openai", name: "gpt-5-mini", input: 25, output: 200, weight: 22 },
  { provider: "anthropic", name: "claude-sonnet-4-5", input: 300, output: 1500, weight: 18 },
  { provider: "anthropic", name: "claude-haiku-4-5", input: 100, output: 500, weight: 12 },
  { provider: "google", name: "gemini-2.5-pro", input: 125, output: 1000, weight: 8 },
  { provider: "google", name: "gemini-2.5-flash", input: 30, output: 250, weight: 12 },
  { provider: "perplexity", name: "sonar", input: 100, output: 100, weight: 5 },
  { provider: "perplexity", name: "sonar-pro", input: 300, output: 1500, weight: 3 },
];

/** Dollars, exactly, with eight decimals: cents per million tokens are 10^-8 dollars per token. */
export function cost(model: Model, inputTokens: number, outputTokens: number): string {
  const units = BigInt(inputTokens) * BigInt(model.input) + BigInt(outputTokens) * BigInt(model.output);
  const digits = String(units).padStart(9, "0");
  return `${digits.slice(0, -8)}.${digits.slice(-8)}`;
}
