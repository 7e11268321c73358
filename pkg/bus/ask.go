package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Headers of the empty message that ends an answer.
const (
	answerParts = "plumb-parts" // how many messages went before it
	answerError = "plumb-error" // what went wrong, percent-encoded
	answerClass = "plumb-error-class"
)

// Limits of questions.
const (
	askTime       = 30 * time.Second // without a deadline of the asker's; and of every answer
	answersAtOnce = 16
	answerQueue   = "worker"
)

// Ask puts a question to any worker of a cluster and reads its one reply.
func (b *Bus) Ask(ctx context.Context, cluster, question string, req, reply proto.Message) error {
	parts := 0
	err := b.AskEach(ctx, cluster, question, req, reply, func() error { parts++; return nil })
	if err == nil && parts != 1 {
		return fault.Refuse("", fault.Place{}, "ask %s of cluster %s: %d replies, want one", question, cluster, parts)
	}
	return err
}

// AskEach puts a question whose answer may be several messages; each is read
// into reply before each is called. Nobody there, no end within ctx or 30 s, and
// a part that got lost are transient faults; what the worker refuses keeps the
// class it has there.
func (b *Bus) AskEach(ctx context.Context, cluster, question string, req, reply proto.Message, each func() error) error {
	if err := b.ask(ctx, cluster, question, req, reply, each); err != nil {
		return fmt.Errorf("ask %s of cluster %s: %w", question, cluster, err)
	}
	return nil
}

func (b *Bus) ask(ctx context.Context, cluster, question string, req, reply proto.Message, each func() error) error {
	session, err := b.session()
	if err != nil {
		return err
	}
	data, err := marshal(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	defer context.AfterFunc(session, cancel)()
	inbox := b.nc.NewInbox()
	replies, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return fault.Retry("", "%w", err)
	}
	defer func() { _ = replies.Unsubscribe() }() // a closed connection has none
	if err := b.nc.PublishRequest(askSubject(cluster, question), inbox, data); err != nil {
		return fault.Retry("", "%w", err)
	}
	return readAnswer(ctx, replies, reply, each)
}

func readAnswer(ctx context.Context, replies *nats.Subscription, reply proto.Message, each func() error) error {
	for parts := 0; ; parts++ {
		msg, err := replies.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return fault.Retry("", "no worker is there to answer")
		case err != nil:
			return fault.Retry("", "no answer: %w", err)
		case len(msg.Data) == 0:
			return endOf(msg, parts)
		}
		proto.Reset(reply)
		if err := unmarshal(msg.Data, reply); err != nil {
			return err
		}
		if err := each(); err != nil {
			return err
		}
	}
}

// endOf reads the message that ends an answer.
func endOf(msg *nats.Msg, parts int) error {
	if text := msg.Header.Get(answerError); text != "" {
		if plain, err := unescape(text); err == nil {
			text = plain
		}
		if msg.Header.Get(answerClass) == fault.Permanent.String() {
			return fault.Refuse("", fault.Place{}, "%s", text)
		}
		return fault.Retry("", "%s", text)
	}
	if want := msg.Header.Get(answerParts); want != strconv.Itoa(parts) {
		return fault.Retry("", "%d of %s parts of the answer arrived", parts, want)
	}
	return nil
}

func askSubject(cluster, question string) string {
	return key(askPrefix+event.Token(cluster), question)
}

// Answer answers a question put to a cluster until ctx ends; each question goes
// to one of those that answer. req is an empty message of the request's type.
// handle calls reply for each message of its answer; its error, as text and
// class, is what the asker gets, so it must hold nothing secret. A panic is a
// transient failure of that question only.
func (b *Bus) Answer(ctx context.Context, cluster, question string, req proto.Message, handle func(ctx context.Context, req proto.Message, reply func(proto.Message) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.life, cancel)()
	var running sync.WaitGroup
	defer running.Wait()
	slots := newSlots(answersAtOnce)
	subscription, err := b.nc.QueueSubscribe(askSubject(cluster, question), answerQueue, func(msg *nats.Msg) {
		if !slots.try() {
			b.endAnswer(msg, 0, fault.Retry("", "too many questions at a time"))
			return
		}
		running.Go(func() {
			defer slots.release()
			b.answer(ctx, msg, proto.Clone(req), handle)
		})
	})
	if err != nil {
		return fault.Retry("", "answer %s: %w", question, err)
	}
	<-ctx.Done()
	if err := subscription.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		b.log.Debug("stop answering", "question", question, "error", err)
	}
	return nil
}

func (b *Bus) answer(ctx context.Context, msg *nats.Msg, req proto.Message, handle func(context.Context, proto.Message, func(proto.Message) error) error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	parts := 0
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				b.log.Error("answer panicked", "subject", msg.Subject, "panic", p, "stack", string(debug.Stack()))
				err = fault.Retry("", "the worker failed; its log says how")
			}
		}()
		if err := unmarshal(msg.Data, req); err != nil {
			return err
		}
		return handle(ctx, req, func(reply proto.Message) error {
			data, err := marshal(reply)
			if err != nil {
				return err
			}
			parts++
			return msg.Respond(data)
		})
	}()
	b.endAnswer(msg, parts, err)
}

func (b *Bus) endAnswer(msg *nats.Msg, parts int, err error) {
	end := nats.NewMsg(msg.Reply)
	end.Header[answerParts] = []string{strconv.Itoa(parts)}
	if err != nil {
		class, _ := fault.ClassOf(err)
		text := err.Error()
		end.Header[answerError] = []string{escape(text[:min(len(text), maxReason)])}
		end.Header[answerClass] = []string{class.String()}
	}
	if err := msg.RespondMsg(end); err != nil {
		b.log.Debug("end answer", "subject", msg.Subject, "error", err)
	}
}
