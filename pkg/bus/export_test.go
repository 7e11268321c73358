package bus

// AlwaysTogether makes those who publish at the same time go together, whatever
// it costs.
func (b *Bus) AlwaysTogether() { b.events.pays = func() bool { return true } }

// AlwaysAlone makes all go one by one.
func (b *Bus) AlwaysAlone() { b.events.pays = func() bool { return false } }

// Confirmed is how the answer to a batch is read.
var Confirmed = confirmed
