// Package bus is Plumb's use of NATS JetStream: streams, buckets, publishing,
// consuming, leases, state and questions. It is the only package that imports
// nats.go and the only one that acknowledges.
//
// It may import event, fault, app and the generated messages.
//
// How it fails: NATS being away is a transient fault, told at once and never
// buffered over, so nothing is reported stored that is not. A stream or a
// consumer found gone is created again and the work goes on. What a message
// cannot be read for is a dead letter with its reason, and the consumer goes on.
// What a handler returns decides by its fault class: nil acknowledges, transient
// and retry-after come again later, permanent does not come again.
//
// Delivery is at least once and unordered between keys: messages are hints.
package bus
