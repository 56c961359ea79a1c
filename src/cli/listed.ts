/**
 * Options with several values: given again for each, or as a list with commas. Not one after the other, for then the argument of a command that
 * follows (`node info -a host:port node1`) would be taken for one more.
 */

export function listed(text: string, before: readonly string[] | undefined): readonly string[] {
  return [
    ...(before ?? []),
    ...text
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== ''),
  ]
}
