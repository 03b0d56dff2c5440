// Responsibilities of one row: java --enable-native-access=ALL-UNNAMED -cp . Mixture LIBRARY MODEL X1 X2 ...
// Needs Java 22, whose foreign functions and memory these are.
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

public final class Mixture implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final SymbolLookup library;
    private final MethodHandle message;
    private final MethodHandle predict;
    private final MemorySegment model;

    Mixture(String libraryPath, String modelPath) throws Throwable {
        library = SymbolLookup.libraryLookup(Path.of(libraryPath), arena);
        message = function("fastvi_message", FunctionDescriptor.of(ADDRESS, JAVA_INT));
        predict = function("fastvi_mixture", FunctionDescriptor.of(
            JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS));
        MethodHandle open = function(
            "fastvi_open", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
        MemorySegment place = arena.allocate(ADDRESS);
        check((int) open.invokeExact(arena.allocateFrom(modelPath), place));
        model = place.get(ADDRESS, 0);
    }

    private MethodHandle function(String name, FunctionDescriptor kind) {
        return Linker.nativeLinker().downcallHandle(library.find(name).orElseThrow(), kind);
    }

    private void check(int code) throws Throwable {
        if (code == 0) return;
        MemorySegment text = (MemorySegment) message.invokeExact(code);
        throw new IllegalArgumentException(text.reinterpret(Long.MAX_VALUE).getString(0));
    }

    private long size(String name) throws Throwable {
        return (long) function(name, FunctionDescriptor.of(JAVA_LONG, ADDRESS)).invokeExact(model);
    }

    double[] responsibilities(double[] row) throws Throwable {
        if (row.length != size("fastvi_n_features"))
            throw new IllegalArgumentException("the row is of another width");
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment x = scratch.allocateFrom(JAVA_DOUBLE, row);
            MemorySegment out = scratch.allocate(JAVA_DOUBLE, size("fastvi_n_outputs"));
            MemorySegment none = MemorySegment.NULL;
            check((int) predict.invokeExact(model, 1L, x, out, none, none));
            return out.toArray(JAVA_DOUBLE);
        }
    }

    @Override
    public void close() {
        try {
            function("fastvi_close", FunctionDescriptor.ofVoid(ADDRESS)).invokeExact(model);
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
        arena.close();
    }

    public static void main(String[] given) throws Throwable {
        double[] row = new double[given.length - 2];
        for (int i = 0; i < row.length; i++) row[i] = Double.parseDouble(given[i + 2]);
        try (Mixture mixture = new Mixture(given[0], given[1])) {
            for (double share : mixture.responsibilities(row)) System.out.println(share);
        }
    }
}
