#include "check.h"
#include "ring.h"

int main(void)
{
    struct ring ring = {0};
    int number = 0;
    for (int put = 1; put <= 3; put++)
        ring_put(&ring, put);
    for (int taken = 1; taken <= 3; taken++) {
        CHECK(ring_take(&ring, &number));
        CHECK(number == taken);
    }
    CHECK(!ring_take(&ring, &number));
    return 0;
}
