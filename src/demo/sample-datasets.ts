import type { DatasetSpec } from './dataset-objects.ts';
import { encodePng } from './png.ts';
import { normal, seededRandom } from './random.ts';

/** Datasets as research groups have them, about 40 MB together, the same bytes every time. */
export function sampleDatasets(): readonly DatasetSpec[] {
  return [sequencing(), imaging(), simulation(), repeatedSimulation(), unfinished()];
}

/** 2026-03-02 09:00 UTC, in seconds. */
const BASE_TIME = 1_772_442_000;
const DAY = 86_400;

const DESCRIPTION = (text: string): string => `---
description: ${text}
project: Stress response of barley
confidential: False
personally_identifiable_information: False
owners:
  - name: Ada Example
    email: ada@example.org
    username: ada
creation_date: 2026-03-02
`;

function sequencing(): DatasetSpec {
  const random = seededRandom(1);
  const samples = ['control-1', 'control-2', 'drought-1', 'drought-2'];
  const items: [string, Buffer][] = samples.flatMap((sample): [string, Buffer][] => [
    [`reads/${sample}/${sample}_R1.fastq`, fastq(random, sample, 1, 14_000)],
    [`reads/${sample}/${sample}_R2.fastq`, fastq(random, sample, 2, 14_000)],
  ]);
  items.push(
    ['reference/barley-chr1H.fasta', fasta(random, 'chr1H', 400_000)],
    ['counts/gene-counts.csv', countsTable(random, samples, 8_000)],
    [
      'sample sheet (final).csv',
      Buffer.from(`sample,treatment\n${samples.map((s) => `${s},${s.split('-')[0]}\n`).join('')}`),
    ],
  );
  return {
    name: 'rnaseq-2026',
    uuid: '1b2c3d4e-5f60-4718-8293-a4b5c6d7e8f9',
    items,
    readme: DESCRIPTION('RNA-seq of barley under drought, paired reads of two replicates'),
    tags: ['rnaseq', 'barley'],
    annotations: { species: 'Hordeum vulgare', read_length: 100 },
    overlays: {
      is_read1: (relpath) => relpath.endsWith('_R1.fastq'),
      treatment: (relpath) => /reads\/(\w+)-/.exec(relpath)?.[1] ?? null,
    },
    creator: 'ada',
    createdAt: BASE_TIME + 0.25,
  };
}

function imaging(): DatasetSpec {
  const random = seededRandom(2);
  const items = Array.from({ length: 12 }, (_, day): [string, Buffer] => [
    `plate-A/day-${String(day).padStart(2, '0')}/leaf.png`,
    leaf(random, day),
  ]);
  items.push([
    'analysis/area.csv',
    Buffer.from(
      `day,area_mm2\n${items.map((_, day) => `${day},${(31 + day * day * 1.7).toFixed(1)}\n`).join('')}`,
    ),
  ]);
  return {
    name: 'leaf-imaging',
    uuid: '2c3d4e5f-6071-4829-93a4-b5c6d7e8f90a',
    items,
    readme: DESCRIPTION('Daily pictures of one leaf'),
    tags: ['imaging'],
    annotations: { camera: { model: 'EOS R5', pixels: [256, 256] } },
    creator: 'ada',
    createdAt: BASE_TIME + 3 * DAY,
  };
}

function simulation(): DatasetSpec {
  return trajectories('md-trajectories', '3d4e5f60-7182-493a-a4b5-c6d7e8f90a1b', 3, BASE_TIME + 9 * DAY);
}

/** A second dataset of the same name, as it happens: it is shown with the start of its uuid. */
function repeatedSimulation(): DatasetSpec {
  return trajectories('md-trajectories', '4e5f6071-8293-4a4b-b5c6-d7e8f90a1b2c', 4, BASE_TIME + 12 * DAY);
}

function trajectories(name: string, uuid: string, seed: number, createdAt: number): DatasetSpec {
  const random = seededRandom(seed);
  return {
    name,
    uuid,
    items: [
      ['run-1/trajectory.bin', doubles(random, 800_000)],
      ['run-2/trajectory.bin', doubles(random, 800_000)],
      ['input/parameters.yml', Buffer.from('temperature_K: 310\nsteps: 800000\nthermostat: langevin\n')],
    ],
    readme: DESCRIPTION('Trajectories of a membrane protein'),
    tags: ['simulation'],
    prefix: 'u/bob/',
    creator: 'bob',
    createdAt,
  };
}

function unfinished(): DatasetSpec {
  return {
    name: 'field-notes',
    uuid: '5f607182-93a4-4b5c-86d7-e8f90a1b2c3d',
    items: [['2026-03-14.txt', Buffer.from('Plot 7: first ears visible.\n')]],
    readme: DESCRIPTION('Notes, not frozen yet'),
    creator: 'bob',
    createdAt: BASE_TIME + 14 * DAY,
    frozenAt: null,
  };
}

const BASES = 'ACGT';
const READ_LENGTH = 100;

function sequence(random: () => number, length: number): string {
  let text = '';
  for (let index = 0; index < length; index += 1) text += BASES[Math.floor(random() * BASES.length)];
  return text;
}

/** FASTQ with Phred qualities that fall towards the end of a read, as real ones do. */
function fastq(random: () => number, sample: string, mate: 1 | 2, reads: number): Buffer {
  const lines: string[] = [];
  for (let read = 1; read <= reads; read += 1) {
    let quality = '';
    for (let position = 0; position < READ_LENGTH; position += 1) {
      const phred = Math.round(38 - position / 8 - random() * 6);
      quality += String.fromCharCode(33 + Math.max(2, phred));
    }
    lines.push(`@${sample}:${read}/${mate}`, sequence(random, READ_LENGTH), '+', quality);
  }
  return Buffer.from(`${lines.join('\n')}\n`);
}

function fasta(random: () => number, name: string, length: number): Buffer {
  const lines = [`>${name} barley, made up`];
  for (let start = 0; start < length; start += 80) lines.push(sequence(random, Math.min(80, length - start)));
  return Buffer.from(`${lines.join('\n')}\n`);
}

function countsTable(random: () => number, samples: readonly string[], genes: number): Buffer {
  const lines = [`gene,${samples.join(',')}`];
  for (let gene = 1; gene <= genes; gene += 1) {
    const mean = Math.exp(2 + 2 * normal(random));
    const counts = samples.map(() => Math.round(mean * Math.exp(0.2 * normal(random))));
    lines.push(`HORVU1Hr1G${String(gene * 10).padStart(6, '0')},${counts.join(',')}`);
  }
  return Buffer.from(`${lines.join('\n')}\n`);
}

/** A random walk in three dimensions as little-endian doubles. */
function doubles(random: () => number, count: number): Buffer {
  const values = new Float64Array(count);
  for (let index = 3; index < count; index += 1) values[index] = (values[index - 3] ?? 0) + random() - 0.5;
  return Buffer.from(values.buffer);
}

/** A leaf that grows day by day, with some noise on the camera. */
function leaf(random: () => number, day: number): Buffer {
  const size = 256;
  const radius = 40 + day * 7;
  return encodePng(size, size, (x, y) => {
    const dx = (x - size / 2) / radius;
    const dy = (y - size / 2) / (radius * 0.55);
    const inside = Math.abs(dx) < 1 && Math.abs(dy) < (1 - dx * dx) * (1 - 0.3 * dx);
    const vein = inside && (Math.abs(dy) < 0.04 || Math.abs(((dx * 8 + Math.abs(dy) * 4) % 2) - 1) < 0.06);
    const noise = random() * 14;
    if (vein) return [150 + noise, 190 + noise, 110];
    return inside ? [50 + noise, 120 + noise * 2, 45] : [232 + noise, 228 + noise, 220 + noise];
  });
}
