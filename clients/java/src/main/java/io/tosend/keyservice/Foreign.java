package io.tosend.keyservice;

import java.util.regex.Pattern;

/**
 * Text of somebody else, made fit for an error. A server, or a proxy before it, may say anything:
 * lines that look like a log's own, what a terminal obeys, and the very token that it was asked
 * about.
 */
final class Foreign {
    private static final int LONGEST = 500;

    /** Control characters, those that change how others are shown, and white space. */
    private static final Pattern UNPRINTABLE = Pattern.compile("[\\p{C}\\p{Z}]+");

    private static final Pattern SECRETS = Pattern.compile("(tsend_|tsop_)[0-9A-Za-z]+");

    private Foreign() {}

    /** One line of printable characters, not endless, without what looks like a secret. */
    static String tame(String text) {
        String line = UNPRINTABLE.matcher(text).replaceAll(" ").strip();
        String shown = SECRETS.matcher(line).replaceAll("$1…");
        return shown.substring(0, Math.min(shown.length(), LONGEST));
    }
}
