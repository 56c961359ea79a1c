/** What this process holds, in bytes: the JavaScript heap and the memory of its array buffers, buffers included. */
export function processBytes(): number {
  const { heapTotal, arrayBuffers } = process.memoryUsage()
  return heapTotal + arrayBuffers
}
