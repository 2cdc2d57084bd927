/**
 * Work alone and beside something else, in the order alone, beside, beside, alone: what changes with time, a fuller log or
 * a slower machine, weighs on both alike.
 */
export async function inBothOrders<A, B>(
  alone: () => Promise<A>,
  beside: () => Promise<B>,
): Promise<{ alone: [A, A]; beside: [B, B] }> {
  const [first, second, third, last] = [await alone(), await beside(), await beside(), await alone()];
  return { alone: [first, last], beside: [second, third] };
}
