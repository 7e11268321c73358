package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// pushPayload is a push of one commit as GitHub sends it.
//
//go:embed testdata/push.json
var pushPayload []byte

// idLength is that of a delivery id: a UUID, as GitHub's.
const idLength = 36

// sender posts webhooks over one connection that it keeps. It writes one prepared
// request, in which only the delivery id changes, and reads no more of an answer than it
// must: what it takes is taken from what is measured, since all share the machine.
type sender struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	id      []byte // within request
}

func newSender(ctx context.Context, address string) (*sender, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(pushPayload)
	head := fmt.Sprintf("POST /hooks/bench HTTP/1.1\r\nHost: %s\r\nUser-Agent: GitHub-Hookshot/bench\r\nAccept: */*\r\n"+
		"Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 1\r\nX-Hub-Signature-256: sha256=%s\r\nContent-Length: %d\r\nX-GitHub-Delivery: ",
		address, hex.EncodeToString(mac.Sum(nil)), len(pushPayload))
	s := &sender{conn: conn, in: bufio.NewReader(conn)}
	s.request = append(fmt.Appendf(nil, "%s%s\r\n\r\n", head, strings.Repeat("0", idLength)), pushPayload...)
	s.id = s.request[len(head) : len(head)+idLength]
	return s, nil
}

// deliveries number the deliveries of this run; with the random part no two runs share an id.
var deliveries struct {
	count atomic.Uint64
	run   [4]byte
}

// deliver posts one webhook. Anything but 2xx is an error.
func (s *sender) deliver() error {
	writeID(s.id)
	if _, err := s.conn.Write(s.request); err != nil {
		return err
	}
	return s.answer()
}

func writeID(into []byte) {
	const shape = "00000000-0000-4000-8000-000000000000"
	copy(into, shape)
	hex.Encode(into, deliveries.run[:])
	n := strconv.AppendUint(nil, deliveries.count.Add(1), 16)
	copy(into[idLength-len(n):], n)
}

func (s *sender) answer() error {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 10 || line[9] != '2' {
		return fmt.Errorf("webhook was answered with %q", bytes.TrimSpace(line))
	}
	length := -1
	for {
		line, err = s.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return textproto.ProtocolError(err.Error())
			}
		}
	}
	if length < 0 {
		return errors.New("webhook was answered without a length")
	}
	_, err = io.CopyN(io.Discard, s.in, int64(length))
	return err
}

// width is how many requests are in flight in all that is compared.
const width = 64

// senders opens connections to one receiver and closes them at the end.
func senders(ctx context.Context, address string, count int) (all []*sender, end func(), err error) {
	end = func() {
		for _, s := range all {
			_ = s.conn.Close()
		}
	}
	for range count {
		s, err := newSender(ctx, address)
		if err != nil {
			end()
			return nil, nil, err
		}
		all = append(all, s)
	}
	return all, end, nil
}

// tally is how often something was done, in all and per second once it was warm.
type tally struct {
	done int64
	rate float64
}

// flood posts webhooks, width of them in flight.
func flood(ctx context.Context, address string, span time.Duration) (tally, error) {
	all, end, err := senders(ctx, address, width)
	if err != nil {
		return tally{}, err
	}
	defer end()
	return saturate(ctx, span, func(i int) error { return all[i].deliver() })
}

// warming is the part of a span that goes by before the rate counts.
const warming = 0.2

// saturate runs do width times side by side, each again and again.
func saturate(ctx context.Context, span time.Duration, do func(i int) error) (t tally, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, stop := context.WithCancel(ctx)
	var done atomic.Int64
	var all sync.WaitGroup
	for i := range width {
		all.Go(func() {
			for over.Err() == nil {
				if err := do(i); err != nil {
					cancel(err)
					return
				}
				done.Add(1)
			}
		})
	}
	warm := time.Duration(float64(span) * warming)
	wait(ctx, warm)
	before, began := done.Load(), time.Now()
	wait(ctx, span-warm)
	t.rate = float64(done.Load()-before) / time.Since(began).Seconds()
	stop()
	all.Wait()
	t.done = done.Load()
	return t, context.Cause(ctx)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// latencies posts webhooks at a rate, whatever becomes of those before, and returns how
// long each took from the moment at which it was due: one that had to wait for a sender
// has waited.
func latencies(ctx context.Context, address string, rate float64, span time.Duration) ([]float64, error) {
	all, end, err := senders(ctx, address, 4*width)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	count := int(rate * span.Seconds())
	took, due := make([]float64, count), make(chan int, count)
	began := time.Now()
	dueAt := func(i int) time.Time { return began.Add(time.Duration(float64(i) / rate * float64(time.Second))) }
	var sending sync.WaitGroup
	for _, s := range all {
		sending.Go(func() {
			for i := range due {
				if err := s.deliver(); err != nil {
					cancel(err)
					return
				}
				took[i] = time.Since(dueAt(i)).Seconds()
			}
		})
	}
	for i := 0; i < count && ctx.Err() == nil; {
		if early := time.Until(dueAt(i)); early > 0 {
			wait(ctx, max(early, time.Millisecond)) // timers for each would cost more than the webhooks
			continue
		}
		due <- i
		i++
	}
	close(due)
	sending.Wait()
	return took, context.Cause(ctx)
}

// seedDeliveries makes this run's ids its own.
func seedDeliveries() { rand.Read(deliveries.run[:]) }
