/** Whether long tests have their full length: DTOOL_ECS_TEST_FULL is 1, which `scripts/test --full` sets. */
export const isFull = process.env['DTOOL_ECS_TEST_FULL'] === '1';

/** The one place that long tests have their length from: `usual` is for some seconds, `full` for as long as it takes. */
export function scaled<T>({ usual, full }: { readonly usual: T; readonly full: T }): T {
  return isFull ? full : usual;
}
