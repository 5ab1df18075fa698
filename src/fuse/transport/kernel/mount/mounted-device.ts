/** A mount that exists, and the descriptor its requests come from. */
export interface MountedDevice {
  /** Of /dev/fuse; whoever has this object closes it. */
  readonly fd: number;
  /** Where it is mounted, as realpath(3) gives it; absent when somebody else mounted it and did not say. */
  readonly mountpoint: string | undefined;
}
