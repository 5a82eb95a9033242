import Foundation
import HostileReaders

// Gives readers what nobody would write, until one of them traps, hangs, or takes memory:
//
//     distill-fuzz READER [--seconds N] [--seed S] [--findings FOLDER] [--tensors]
//     distill-fuzz READER FILE…        what the reader says of these files
//
// What a reader does not stand is left in FOLDER/READER-crash-SEED.bin. The same seed gives the same inputs.
//
// Built with DISTILL_LIBFUZZER=1 (and --scratch-path of its own), the program is one of libFuzzer, which prefers inputs that
// reach new branches; what follows the reader's name is then libFuzzer's: distill-fuzz READER -max_total_time=60 FOLDER.

#if LIBFUZZER
LibFuzzer.run()
#else
let options = Options(Array(CommandLine.arguments.dropFirst()))
if options.files.isEmpty { try Fuzzing(options).run() } else { try options.readFiles() }
#endif
