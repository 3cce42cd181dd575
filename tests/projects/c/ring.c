#include "ring.h"

void ring_put(struct ring *ring, int number)
{
    ring->numbers[(ring->first + ring->count) % RING_SIZE] = number;
    if (ring->count < RING_SIZE)
        ring->count++;
    else
        ring->first = (ring->first + 1) % RING_SIZE;
}

int ring_take(struct ring *ring, int *number)
{
    if (ring->count == 0)
        return 0;
    *number = ring->numbers[ring->first];
    ring->first = (ring->first + 1) % RING_SIZE;
    ring->count--;
    return 1;
}
