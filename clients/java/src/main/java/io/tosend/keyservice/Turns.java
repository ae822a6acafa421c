package io.tosend.keyservice;

import java.util.ArrayDeque;
import java.util.Queue;
import java.util.function.BooleanSupplier;

/**
 * Limits the attempts in flight. The others wait, and the oldest is next. If a program asked for a
 * thousand tokens at once, all attempts would otherwise time out, and be made again.
 */
final class Turns {
    /** Answers come within milliseconds, so this is enough for tens of thousands a second. */
    private static final int MOST_IN_FLIGHT = 100;

    private final Queue<BooleanSupplier> waiting = new ArrayDeque<>();
    private int inFlight;

    /**
     * Begins an attempt now, or when others have ended.
     *
     * @param attempt says whether it has begun. If so, {@link #end} follows.
     */
    void begin(BooleanSupplier attempt) {
        synchronized (this) {
            if (inFlight == MOST_IN_FLIGHT) {
                waiting.add(attempt);
                return;
            }
            inFlight++;
        }
        if (!attempt.getAsBoolean()) {
            end();
        }
    }

    /** Gives the turn of an attempt that has ended to the next one that begins. */
    void end() {
        BooleanSupplier next;
        do {
            synchronized (this) {
                next = waiting.poll();
                if (next == null) {
                    inFlight--;
                }
            }
        } while (next != null && !next.getAsBoolean());
    }
}
