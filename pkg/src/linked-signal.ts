/** Does work under a signal that fires when `outer` does, and when the work has failed: whatever is left of it ends. */
export async function withLinkedSignal<T>(
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const follow = () => controller.abort(outer!.reason);
  if (outer?.aborted) follow();
  outer?.addEventListener('abort', follow);
  try {
    return await work(controller.signal);
  } catch (error) {
    controller.abort(error);
    throw error;
  } finally {
    outer?.removeEventListener('abort', follow);
  }
}
