// NET as a class of C++17, over NET.h: inputs and outputs as vectors, errors as exceptions.
#ifndef NET_HPP
#define NET_HPP

#include "NET.h"
#include "netc_image.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace NET {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A class with its value, by its name or else its number.
struct Ranked {
    std::string label;
    std::size_t number;
    float value;
};

class Net {
  public:
    explicit Net(const std::string &weights = "weights.bin", int threads = 1) {
        NET_net *made = nullptr;
        check(NET_create(&made, weights.c_str(), threads), weights);
        net_.reset(made);
    }

    template <typename Number> void set(const std::string &name, const std::vector<Number> &values) {
        check(NET_set(net_.get(), name.c_str(), values.data(), values.size() * sizeof(Number)), name);
    }

    template <typename Number> std::vector<Number> get(const std::string &name) const {
        const NET_value *found = NET_find(name.c_str());
        if (!found) check(NET_NO_VALUE, name);
        std::vector<Number> values(found->bytes / sizeof(Number));
        check(NET_get(net_.get(), name.c_str(), values.data(), values.size() * sizeof(Number)), name);
        return values;
    }

    // Give the only input of images a record out of a file.
    void set_image(const std::string &path, std::size_t record = 0) {
        netc_image image;
        if (const char *wrong = netc_image_read(&image, path.c_str())) throw Error(path + ": " + wrong);
        int status = NET_set_image(net_.get(), record, image.pixels, image.height, image.width, image.channels);
        netc_image_free(&image);
        check(status, path);
    }

    void step() { check(NET_step(net_.get()), "NET"); }

    // The classes with the largest values of an output, for one image.
    std::vector<Ranked> classify(const std::string &path, std::size_t top = 5, const std::string &output = first()) {
        set_image(path);
        step();
        const std::vector<float> values = get<float>(output);
        const NET_value *about = NET_find(output.c_str());
        std::vector<std::size_t> order(about->rank ? values.size() / about->shape[0] : 1);
        for (std::size_t k = 0; k < order.size(); k++) order[k] = k;
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
        std::vector<Ranked> found;
        for (std::size_t k = 0; k < std::min(top, order.size()); k++) {
            const char *label = NET_label(order[k], order.size());
            found.push_back({label ? label : std::to_string(order[k]), order[k], values[order[k]]});
        }
        return found;
    }

    // The first output of the net.
    static std::string first() {
        for (std::size_t i = 0; NET_at(i); i++)
            if (NET_at(i)->kind == NET_OUTPUT) return NET_at(i)->name;
        throw Error("NET has no output");
    }

  private:
    struct Free {
        void operator()(NET_net *net) const { NET_destroy(net); }
    };

    static void check(int status, const std::string &about) {
        if (status != NET_OK) throw Error(about + ": " + NET_message(status));
    }

    std::unique_ptr<NET_net, Free> net_;
};

}  // namespace NET
#endif
