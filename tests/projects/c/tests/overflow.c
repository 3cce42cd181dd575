#include "check.h"
#include "ring.h"

int main(void)
{
    struct ring ring = {0};
    int number = 0;
    for (int put = 1; put <= 6; put++)
        ring_put(&ring, put);
    CHECK(ring_take(&ring, &number));
    CHECK(number == 3);
    return 0;
}
