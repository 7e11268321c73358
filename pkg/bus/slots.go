package bus

import (
	"context"
	"slices"
	"sync"
)

// slots is a semaphore that can be asked how much of it is free. Those who wait
// in acquire go before those who try.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting []chan struct{}
	freed   chan struct{} // holds one token after a slot became free
}

func newSlots(n int) *slots { return &slots{free: n, freed: make(chan struct{}, 1)} }

// available waits until slots are free and says how many, without taking any.
func (s *slots) available(ctx context.Context) (int, error) {
	for {
		s.mu.Lock()
		free := s.free
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if free > 0 {
			return free, nil
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
		}
	}
}

func (s *slots) try() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 {
		return false
	}
	s.free--
	return true
}

func (s *slots) acquire(ctx context.Context) error {
	if s.try() {
		return nil
	}
	turn := make(chan struct{}, 1)
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		s.leave(turn)
		return ctx.Err()
	}
}

// leave gives up waiting, and passes on a turn that came at the same moment.
func (s *slots) leave(turn chan struct{}) {
	s.mu.Lock()
	before := len(s.waiting)
	s.waiting = slices.DeleteFunc(s.waiting, func(c chan struct{}) bool { return c == turn })
	came := len(s.waiting) == before
	s.mu.Unlock()
	if came {
		s.release()
	}
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		s.waiting[0] <- struct{}{}
		s.waiting = s.waiting[1:]
		return
	}
	s.free++
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// Slot is the share of a worker's concurrency that a task holds.
type Slot struct {
	slots *slots
	mu    sync.Mutex
	held  bool
}

// Release lets another task run while this one waits; the message and whatever
// lease the task has stay its own. Releasing twice does nothing.
func (s *Slot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		s.held = false
		s.slots.release()
	}
}

// Acquire waits for a slot again, before new messages get one. It returns only
// ctx's error. Acquiring a slot that is held does nothing.
func (s *Slot) Acquire(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil
	}
	if err := s.slots.acquire(ctx); err != nil {
		return err
	}
	s.held = true
	return nil
}
