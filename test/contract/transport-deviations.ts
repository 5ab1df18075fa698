/**
 * Where fuse-native (libfuse 2, asked by path) can't do what a file system should. The contract suite skips or loosens
 * what these name, and nothing else.
 */
export const FUSE_NATIVE_DEVIATIONS = {
  mtime: 'utimens is told the time of access twice: mtime becomes atime, so cp -p, tar and rsync lose it',
  'one-time': 'setting only one of atime and mtime is ignored, without an error',
  milliseconds: 'times have milliseconds, and none is before 1970',
  'inode-numbers': 'inode numbers are cut to 32 bits',
  owner: 'who asks is not known: what is new belongs to the user of the daemon, whoever makes it',
  'rename-flags': 'RENAME_NOREPLACE and RENAME_EXCHANGE fail with EINVAL',
  'hard-links':
    'the names of a hard link are files of their own to the kernel: what one is told of the other (nlink, ctime, content) may be old for as long as attributes are cached',
  'hidden-files':
    'a file that is removed while open goes on as .fuse_hidden* in its directory, which can not be removed meanwhile',
  'write-size': 'writes come in requests of 128 KiB at most',
  fallocate: 'space can not be reserved (fallocate fails with EOPNOTSUPP)',
  'removed-directories': 'a directory that was removed can not be listed by those who are in it',
  'temporary-files': 'a file has to have a name (O_TMPFILE fails with EOPNOTSUPP)',
  holes: 'a file is one piece of data to lseek(2)',
  'birth-time': 'nothing tells when a file was made',
  'link-bytes': 'a symbolic link whose target is not UTF-8 leads to another place',
  'replacement-character': 'a name with U+FFFD can not be made, as it looks like one that is not UTF-8',
} as const;

export type Deviation = keyof typeof FUSE_NATIVE_DEVIATIONS;
