/**
 * `target` with a property that is computed when it is first read: most masks and logits never are, and making them takes
 * memory of JavaScript, whose collector then comes more often. It is a plain one from then on, or once it is assigned.
 *
 * @param onSettled called then
 */
export function lazily<T extends object, Name extends string, Value>(
  target: T,
  name: Name,
  compute: () => Value,
  onSettled: () => void = () => {},
) {
  const settle = (value: Value) => {
    Object.defineProperty(target, name, { enumerable: true, configurable: true, writable: true, value })
    onSettled()
  }
  const get = () => {
    const value = compute()
    settle(value)
    return value
  }
  return Object.defineProperty(target, name, { enumerable: true, configurable: true, get, set: settle }) as T &
    Record<Name, Value>
}
