'use strict';
/*
 * Preloaded into a mount (NODE_OPTIONS=--require): from the moment that the mount tells its parent that it is ready, records
 * each synchronous file call of the main thread, and at the end writes them to RECORD_SYNC_CALLS, a JSON array of
 * { call, path, stack }. With RECORD_ON_NETWORK=1 the mount is made to believe that all file systems are NFS.
 */
const fs = require('node:fs');
const { syncBuiltinESMExports } = require('node:module');
const { isMainThread } = require('node:worker_threads');

const { writeFileSync } = fs;
const file = process.env.RECORD_SYNC_CALLS;
const NFS_TYPE = 0x6969;
if (process.env.RECORD_ON_NETWORK === '1') {
  const { statfs } = fs.promises;
  fs.promises.statfs = async (...args) => Object.assign(await statfs(...args), { type: NFS_TYPE });
  syncBuiltinESMExports();
}
if (isMainThread && process.send && file !== undefined) {
  const calls = new Map();
  let isRecording = false;
  for (const name of Object.keys(fs).filter((key) => key.endsWith('Sync'))) {
    const original = fs[name];
    const recorded = function recorded(...args) {
      if (isRecording) {
        const { stack = '' } = new Error(name);
        if (!calls.has(stack)) calls.set(stack, { call: name, path: String(args[0]), stack });
      }
      return original.apply(this, args);
    };
    fs[name] = Object.assign(recorded, original);
  }
  syncBuiltinESMExports();
  process.once('disconnect', () => {
    isRecording = true;
  });
  process.once('exit', () => {
    isRecording = false;
    writeFileSync(file, JSON.stringify([...calls.values()]));
  });
}
