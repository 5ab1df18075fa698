import * as fc from 'fast-check';

/**
 * A property ends before its test's time limit does (see vitest.config.ts), so that what fails is told with its seed and
 * not as a time-out while it is made smaller. Tests with a longer limit give their own.
 */
fc.configureGlobal({ interruptAfterTimeLimit: 50_000, markInterruptAsFailure: true });
