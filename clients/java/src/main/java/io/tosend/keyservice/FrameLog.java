package io.tosend.keyservice;

import io.grpc.netty.shaded.io.netty.util.internal.logging.InternalLoggerFactory;
import io.grpc.netty.shaded.io.netty.util.internal.logging.JdkLoggerFactory;

import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * At debug level, gRPC logs all that it sends: bearer secrets, and tokens in hexadecimal. Some
 * logging libraries begin at that level. So this log is left out, in the whole process.
 */
final class FrameLog {
    /** Held here, because a logger that nobody holds forgets its filter. */
    private static final Logger FRAMES =
            Logger.getLogger("io.grpc.netty.shaded.io.grpc.netty.NettyClientHandler");

    private FrameLog() {}

    static void leaveOut() {
        // gRPC logs by java.util.logging, and now so does the part of it that is Netty.
        InternalLoggerFactory.setDefaultFactory(JdkLoggerFactory.INSTANCE);
        FRAMES.setFilter(record -> record.getLevel().intValue() >= Level.INFO.intValue());
    }
}
