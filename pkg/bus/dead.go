package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// Headers of a dead letter beside those of the message itself. Values are
// percent-encoded like all others.
const (
	deadReason    = "plumb-dead-reason"
	deadSubject   = "plumb-dead-subject"
	deadSequence  = "plumb-dead-sequence"
	deadTruncated = "plumb-dead-truncated" // how long the data was before it was cut
	// deadControl keeps a header that would tell the server what to do.
	deadControl = "plumb-dead-"
)

// maxReason is the longest reason that a dead letter carries, in bytes.
const maxReason = 1024

// bury stores a message with the reason it is given up for. It outlives the
// context of the consumer: the message was taken before that ended.
func (b *Bus) bury(msg jetstream.Msg, meta *jetstream.MsgMetadata, reason error) error {
	subject := deadPrefix + event.Token(meta.Stream) + "." + event.Token(meta.Consumer)
	letter := &nats.Msg{Subject: subject, Header: buried(msg.Headers()), Data: msg.Data()}
	if len(letter.Data) > event.MaxData {
		letter.Header[deadTruncated] = []string{strconv.Itoa(len(letter.Data))}
		letter.Data = letter.Data[:event.MaxData]
	}
	text := reason.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxReason)], "\uFFFD")
	letter.Header[deadReason] = []string{escape(text)}
	letter.Header[deadSubject] = []string{escape(msg.Subject())}
	letter.Header[deadSequence] = []string{strconv.FormatUint(meta.Sequence.Stream, 10)}
	// The store time tells a message from one of the same sequence in a stream made anew.
	id := fmt.Sprintf("%s/%d/%d", meta.Consumer, meta.Sequence.Stream, meta.Timestamp.UnixNano())
	letter.Header[jetstream.MsgIDHeader] = []string{messageID(id)}
	if _, err := b.publish(context.WithoutCancel(b.life), deadStream, letter); err != nil {
		b.log.Error("store dead letter; the message will come again", "subject", msg.Subject(), "reason", text, "error", err)
		return fmt.Errorf("store dead letter: %w", err)
	}
	b.log.Warn("dead letter", "subject", msg.Subject(), "sequence", meta.Sequence.Stream, "consumer", meta.Consumer, "reason", text)
	return nil
}

// buried copies the headers of a message. Those that command the server, as
// Nats-Rollup and Nats-Expected-Stream, are kept under a name that does not.
func buried(header nats.Header) nats.Header {
	kept := nats.Header{}
	for name, values := range header {
		if strings.HasPrefix(strings.ToLower(name), "nats-") {
			name = deadControl + strings.ToLower(name)
		}
		kept[name] = values
	}
	return kept
}
