/**
 * Asks KeyService whether a token may send for a domain.
 *
 * <p>{@link io.tosend.keyservice.KeyServiceClient} is where to begin.
 */
package io.tosend.keyservice;
