/** Work on numbered things, several at once, with their results in order. */
export async function* inOrder<T>(count: number, width: number, work: (n: number) => Promise<T>): AsyncGenerator<T> {
  const under: Promise<T>[] = [];
  let next = 0;
  while (next < count || under.length > 0) {
    while (next < count && under.length < width) {
      const result = work(next++);
      // Whoever takes it learns of the failure; those behind one that fails are taken by nobody.
      result.catch(() => {});
      under.push(result);
    }
    yield await under.shift()!;
  }
}
