// cpp_counter.cpp: a component in C++ without exceptions and RTTI: static constructors, virtual
// functions, new and delete, a container.
#include <cstdint>
#include <memory>
#include <vector>

#include <aee_guest.h>

namespace
{

class Counter
{
public:
    virtual ~Counter() = default;
    virtual std::int64_t next() = 0;
};

class Steps final : public Counter
{
public:
    explicit Steps(std::int64_t step) : step_(step)
    {
    }
    std::int64_t next() override
    {
        return value_ += step_;
    }

private:
    std::int64_t step_;
    std::int64_t value_ = 0;
};

class Squares final : public Counter
{
public:
    std::int64_t next() override
    {
        ++root_;
        return root_ * root_;
    }

private:
    std::int64_t root_ = 0;
};

// Has a constructor that must have run before the first call.
class Registry
{
public:
    Registry()
    {
        add(1);
        ready_ = 1;
    }
    std::int64_t add(std::int64_t step)
    {
        if (step == 0) {
            counters_.push_back(std::unique_ptr<Counter>(new Squares));
        } else {
            counters_.push_back(std::unique_ptr<Counter>(new Steps(step)));
        }
        return static_cast<std::int64_t>(counters_.size()) - 1;
    }
    std::int64_t next(std::int64_t index)
    {
        if (index < 0 || index >= static_cast<std::int64_t>(counters_.size())) {
            return -1;
        }
        return counters_[static_cast<std::size_t>(index)]->next();
    }
    void clear()
    {
        counters_.clear();
    }
    std::int64_t ready() const
    {
        return ready_;
    }

private:
    std::vector<std::unique_ptr<Counter>> counters_;
    std::int64_t ready_ = 0;
};

Registry registry;

std::int64_t births()
{
    static Steps count(1); // guarded: made at the first call
    return count.next();
}

} // namespace

// 1 if the static constructor ran.
AEE_SIGNATURE(counter_ready, "i:");
AEE_EXPORT std::int64_t counter_ready()
{
    return registry.ready();
}

// Adds a counter that goes up by `step`, or through the squares for 0; returns its index.
AEE_SIGNATURE(counter_add, "i:i");
AEE_EXPORT std::int64_t counter_add(std::int64_t step)
{
    births();
    return registry.add(step);
}

// Next value of a counter; -1: no such counter.
AEE_SIGNATURE(counter_next, "i:i");
AEE_EXPORT std::int64_t counter_next(std::int64_t index)
{
    return registry.next(index);
}

AEE_SIGNATURE(counter_clear, "v:");
AEE_EXPORT void counter_clear()
{
    registry.clear();
}
