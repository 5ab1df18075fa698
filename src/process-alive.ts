import { readFile } from 'node:fs/promises';

/**
 * Whether a process runs. One that has ended but whose parent has not taken notice yet (a zombie) does not: it holds
 * nothing any more (source: proc(5), /proc/pid/stat).
 */
export async function isProcessAlive(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may contain anything, parentheses included.
    return !/^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1));
  } catch {
    return false;
  }
}
